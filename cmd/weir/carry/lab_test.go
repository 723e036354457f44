package carry

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"

	"weir/agent/dsr"
	"weir/loader/lb"
	"weir/loader/netlab"
)

// plan says what a lab is built of.
type plan struct {
	forward  lb.Forward
	vip      int  // family of clients and VIP
	backends int  // family of the backends; another only with a tunnel
	kernel   bool // tunnels end in the kernel's own devices, not in the agent's program
	trunk    bool // the balancer is on VLANs
	bond     netlink.BondMode
}

func (p plan) String() string {
	name := fmt.Sprintf("%s-%d", p.forward, p.vip)
	if p.forward.Tunnel() {
		name = fmt.Sprintf("%s-%d-in-%d", p.forward, p.vip, p.backends)
	}
	if p.kernel {
		name += "-kernel"
	}
	if p.trunk {
		name += "-trunk"
	}
	if p.bond != netlink.BOND_MODE_BALANCE_RR {
		name += "-" + p.bond.String()
	}
	return name
}

// direct are plans of these modes, with either family and nothing mixed.
func direct(modes ...lb.Forward) (all []plan) {
	for _, forward := range modes {
		for _, family := range []int{4, 6} {
			all = append(all, plan{forward: forward, vip: family, backends: family})
		}
	}
	return all
}

// tunnels are plans of both tunnels, with either family in either.
func tunnels() (all []plan) {
	for _, forward := range []lb.Forward{lb.IPIP, lb.GUE} {
		for _, vip := range []int{4, 6} {
			for _, backends := range []int{4, 6} {
				all = append(all, plan{forward: forward, vip: vip, backends: backends})
			}
		}
	}
	return all
}

// byKernel are these plans with the kernel's own tunnel devices.
func byKernel(plans []plan) (all []plan) {
	for _, p := range plans {
		p.kernel = true
		all = append(all, p)
	}
	return all
}

// lab is a network with a balancer that does not run yet, servers and clients.
type lab struct {
	*netlab.Topology
	plan    plan
	nodes   []*node // balancers
	servers []*server
	clients clients
}

const backendCount = 3

// newLab builds it; all of it goes with the test.
func newLab(t *testing.T, p plan) *lab {
	t.Helper()
	build := p.forward
	switch p.forward {
	case lb.DSR:
		build = lb.IPIP // backends that are not set up yet
	case lb.L7:
		build = lb.NAT
	}
	topo, err := netlab.New(netlab.Options{
		Prefix: prefix, Backends: backendCount, Forward: build, Family: p.vip, BackendFamily: p.backends, Trunk: p.trunk, Bond: p.bond,
	})
	if errors.Is(err, netlab.ErrNoKernelSupport) {
		t.Skip("modules 8021q and bonding are needed: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, topo.Close()) })
	l := &lab{Topology: topo, plan: p, clients: clients{ns: topo.Client, sources: topo.ClientAddrs, vip: topo.VIP}}
	l.addNode(t, topo.Balancer)
	l.setUpBackends(t)
	l.serve(t)
	return l
}

// start builds a lab whose balancer serves.
func start(t *testing.T, p plan) *lab {
	t.Helper()
	l := newLab(t, p)
	l.run(t)
	return l
}

// run starts the balancers and waits until all servers have answered.
func (l *lab) run(t *testing.T) {
	t.Helper()
	for _, n := range l.nodes {
		n.run(t, l.config(n))
	}
	l.warmUp(t)
}

// setUpBackends does what docs/dsr.md asks for.
func (l *lab) setUpBackends(t *testing.T) {
	t.Helper()
	if !l.plan.forward.KeepsPacket() {
		return
	}
	var args []string
	if l.plan.kernel || l.plan.forward == lb.DSR {
		args = []string{"--no-tunnel"}
	}
	for _, b := range l.Backends {
		if l.plan.kernel {
			l.unpack(t, b)
		}
		startAgent(t, b.NS, append(args, "--vip", l.VIP.String())...)
	}
}

func (l *lab) unpack(t *testing.T, b netlab.Host) {
	t.Helper()
	port := uint16(0)
	if l.plan.forward == lb.GUE {
		port = dsr.DefaultGUEPort
	}
	err := b.Unpack(port)
	if errors.Is(err, netlab.ErrNoKernelSupport) {
		t.Skip("modules sit, ip6_tunnel, fou and fou6 are needed: ", err)
	}
	must(t, err)
}

// serve starts the servers: of l7 on the balancer, else on the backends.
func (l *lab) serve(t *testing.T) {
	t.Helper()
	if l.plan.forward == lb.L7 {
		must(t, l.Balancer.AddAddr("lo", single(l.VIP)))
		l.servers = []*server{newServer(t, l.Balancer, l.VIP)}
		return
	}
	for _, b := range l.Backends {
		addr := b.Addr
		if l.plan.forward.KeepsPacket() {
			addr = l.VIP
		}
		l.servers = append(l.servers, newServer(t, b.NS, addr))
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
