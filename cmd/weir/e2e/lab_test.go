package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"weir/loader/lb"
	"weir/loader/netlab"
)

// plan says what a lab is built of. The zero value is IPv4 TCP by nat with
// Maglev over three backends of weight 1.
type plan struct {
	forward   lb.Forward
	family    int
	backends  int // family of the backends' addresses, if a tunnel changes it
	proto     lb.Proto
	both      bool // UDP on the same VIP, too
	algorithm string
	weights   []lb.Weight
	settings  settings // on top of the usual ones
}

// network is what the lab's hosts and links have to be. Without backends (l7)
// it is that of any other mode.
func (p plan) network() netlab.Options {
	o := netlab.Options{Prefix: prefix, Backends: len(p.weights), Forward: p.forward, Family: p.family, BackendFamily: p.backends}
	if p.forward == lb.L7 {
		o.Forward = lb.NAT
	}
	return o
}

func (p plan) withDefaults() plan {
	if p.forward == 0 {
		p.forward = lb.NAT
	}
	if p.family == 0 {
		p.family = 4
	}
	if p.proto == 0 {
		p.proto = lb.TCP
	}
	if p.algorithm == "" {
		p.algorithm = "maglev"
	}
	if p.weights == nil {
		p.weights = []lb.Weight{1, 1, 1}
	}
	return p
}

func (p plan) String() string {
	p = p.withDefaults()
	name := fmt.Sprintf("%s-v%d", p.forward, p.family)
	if p.backends != 0 {
		name += fmt.Sprintf("-in-v%d", p.backends)
	}
	if !p.both {
		name += "-" + p.proto.String()
	}
	return name + "-" + p.algorithm
}

// lab is a network with servers in it; start adds the daemon.
type lab struct {
	*netlab.Topology
	config  configuration
	servers []*server
	daemon  *daemon
}

// newLab builds it without a daemon; all of it goes with the test.
func newLab(t *testing.T, p plan) *lab {
	t.Helper()
	p = p.withDefaults()
	topo := newNetwork(t, p)
	l := &lab{Topology: topo, config: configuration{
		settings: defaultSettings().with(p.settings), algorithm: p.algorithm, forward: p.forward,
		vip: lb.VIP{Addr: topo.VIP, Port: 80, Proto: p.proto}, both: p.both,
	}}
	if topo.SourceAddr.IsValid() {
		l.config.settings["snat"] = fmt.Sprintf("{addresses: [%q]}", topo.SourceAddr)
	}
	if p.forward.Tunnel() {
		startAgents(t, topo)
	}
	for i, host := range serving(t, topo, p.forward) {
		s := newServer(t, host, l.config)
		l.servers = append(l.servers, s)
		l.config.backends = append(l.config.backends, lb.Backend{Addr: s.endpoint.Addr(), Port: s.endpoint.Port(), Weight: p.weights[i]})
	}
	t.Cleanup(func() {
		for _, dir := range []string{pinDir, otherPins} {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
		if err := os.RemoveAll(stateDir); err != nil {
			t.Error(err)
		}
	})
	return l
}

func newNetwork(t *testing.T, p plan) *netlab.Topology {
	t.Helper()
	topo, err := netlab.New(p.network())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := topo.Close(); err != nil {
			t.Error(err)
		}
	})
	return topo
}

// serving are the hosts with servers on them: with l7 the balancer, which then
// gets the VIP, else the backends.
func serving(t *testing.T, topo *netlab.Topology, f lb.Forward) []netlab.Host {
	t.Helper()
	if f != lb.L7 {
		return topo.Backends
	}
	if err := topo.Balancer.AddAddr("lo", netip.PrefixFrom(topo.VIP, topo.VIP.BitLen())); err != nil {
		t.Fatal(err)
	}
	return []netlab.Host{{NS: topo.Balancer, Addr: topo.VIP}}
}

// start runs the daemon on the configuration and waits until it serves.
func start(t *testing.T, p plan) *lab {
	t.Helper()
	l := newLab(t, p)
	l.write(t, l.config)
	l.run(t)
	return l
}

func (l *lab) write(t *testing.T, c configuration) {
	t.Helper()
	write(t, configPath, c)
}

func write(t *testing.T, path string, c configuration) {
	t.Helper()
	if err := os.WriteFile(path, []byte(c.text()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run starts a daemon; the one before must have ended.
func (l *lab) run(t *testing.T) {
	t.Helper()
	l.daemon = spawn(t, l.Balancer, "-c", configPath)
	l.daemon.awaitReady(t, socketPath)
}

// restart ends the daemon with a signal and starts the next.
func (l *lab) restart(t *testing.T, s syscall.Signal) {
	t.Helper()
	l.daemon.end(t, s)
	l.run(t)
}

// accepted is what all servers counted.
func (l *lab) accepted() uint64 {
	var sum uint64
	for _, s := range l.servers {
		sum += s.accepted.Load()
	}
	return sum
}

// perServer is what each server counted.
func (l *lab) perServer() []uint64 {
	all := make([]uint64, len(l.servers))
	for i, s := range l.servers {
		all[i] = s.accepted.Load()
	}
	return all
}
