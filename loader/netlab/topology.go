package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"

	"weir/loader/lb"
)

// NIC is the name of the one interface each host has besides lo.
const NIC = "eth0"

const bridgeName = "br0"

// Options say what New builds.
type Options struct {
	Prefix   string     // namespaces are called Prefix-switch, Prefix-client, …
	Backends int        // 1 to MaxBackends
	Forward  lb.Forward // how packets reach backends, and answers clients; not lb.L7
	Family   int        // 4 or 6
	// BackendFamily is that of the backends' addresses, 4 or 6. 0 stands for
	// Family; only with a tunnel may they differ.
	BackendFamily int
	// Trunk puts both networks into VLANs on the balancer's link: the clients'
	// has one tag, the backends' two. It needs a kernel with VLANs.
	Trunk bool
	// Bond makes the balancer's link a bond of two in this mode, unless it is
	// BOND_MODE_BALANCE_RR. It needs a kernel with bonds.
	Bond netlink.BondMode
}

// Topology is one client, one balancer with a single NIC and some backends,
// each in its own namespace, on one switch. The VIP is routed from the client
// to the balancer. With NAT the balancer is the backends' default route; with
// SNAT they have no route to the clients; with
// DSR backends have the VIP on lo and reach the client directly. With a tunnel
// they reach it likewise, and the rest is left to `weir agent dsr`.
type Topology struct {
	Switch, Client, Balancer *NS
	Backends                 []Host
	VIP                      netip.Addr
	BalancerAddr             netip.Addr   // in the clients' network
	SourceAddr               netip.Addr   // with SNAT: another one, in the backends' network
	ClientAddrs              []netip.Addr // all on the client's NIC
	more                     []*NS        // from NewHost
	opts                     Options
	plan                     plan
}

// Host is a backend's namespace and address.
type Host struct {
	NS   *NS
	Addr netip.Addr
}

// New builds a topology, or leaves nothing behind. Namespaces of an earlier run
// with the same prefix are an error; see Cleanup.
func New(opts Options) (*Topology, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	p, err := opts.plan()
	if err != nil {
		return nil, err
	}
	t := &Topology{opts: opts, plan: p, VIP: p.vip, BalancerAddr: p.clientNet.Addr()}
	for _, step := range []func() error{t.addSwitch, t.addBalancer, t.addClient, t.addBackends} {
		if err := step(); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	return t, nil
}

func (o Options) check() error {
	switch {
	case o.Prefix == "" || strings.ContainsAny(o.Prefix, "/. "):
		return fmt.Errorf("namespace prefix %q is empty or has one of \"/. \"", o.Prefix)
	case o.Backends < 1 || o.Backends > MaxBackends:
		return fmt.Errorf("%d backends: must be 1 to %d", o.Backends, MaxBackends)
	case o.Forward == lb.L7:
		return fmt.Errorf("forwarding mode %s has no backends", o.Forward)
	case o.mixed() && !o.Forward.Tunnel():
		return fmt.Errorf("backends of family %d for clients of family %d need a tunnel", o.BackendFamily, o.Family)
	}
	return nil
}

// mixed tells whether backends have addresses of another family than clients.
func (o Options) mixed() bool { return o.BackendFamily != 0 && o.BackendFamily != o.Family }

func (o Options) plan() (plan, error) {
	p, err := planFor(o.Family)
	if err != nil || !o.mixed() {
		return p, err
	}
	backends, err := planFor(o.BackendFamily)
	p.backendNet = backends.backendNet
	return p, err
}

// Close deletes the namespaces. Processes inside them must have ended.
func (t *Topology) Close() error {
	all := append(t.more, t.Client, t.Balancer, t.Switch)
	for _, b := range t.Backends {
		all = append(all, b.NS)
	}
	var errs []error
	for _, ns := range all {
		if ns != nil {
			errs = append(errs, ns.Delete())
		}
	}
	return errors.Join(errs...)
}

func (t *Topology) addSwitch() (err error) {
	if t.Switch, err = CreateNS(t.opts.Prefix + "-switch"); err != nil {
		return err
	}
	if err := t.Switch.Set(switchSysctls()); err != nil {
		return err
	}
	return t.Switch.Bridge(bridgeName, mac(switchSide, 0))
}

func (t *Topology) addBalancer() (err error) {
	if t.Balancer, err = t.newHost("lb"); err != nil {
		return err
	}
	if err := t.Balancer.Forwarding(); err != nil {
		return err
	}
	toClients, toBackends := NIC, NIC
	switch {
	case t.opts.Trunk:
		err = t.plugTrunk(t.Balancer, "lb", 1)
		toClients, toBackends = clientVLAN, backendVLAN
	case t.opts.Bond != netlink.BOND_MODE_BALANCE_RR:
		err = t.plugBond(t.Balancer, "lb", 1)
	default:
		err = t.plug(t.Balancer, "lb", 1)
	}
	if err != nil {
		return err
	}
	err = errors.Join(
		t.Switch.PassAll("lb"),
		t.Balancer.AddAddr(toBackends, t.plan.backendNet),
		t.Balancer.AddAddr(toClients, t.plan.clientNet),
	)
	if err != nil || t.opts.Forward != lb.SNAT {
		return err
	}
	source := host(t.plan.backendNet, sourceNumber)
	t.SourceAddr = source.Addr()
	return t.Balancer.AddAddr(toBackends, source)
}

func (t *Topology) addClient() (err error) {
	if t.Client, err = t.newHost("client"); err != nil {
		return err
	}
	if err := errors.Join(t.Client.Set(clientSysctls()), t.plug(t.Client, "client", firstClient)); err != nil {
		return err
	}
	for i := range clients {
		addr := host(t.plan.clientNet, firstClient+i)
		if err := t.Client.AddAddr(NIC, addr); err != nil {
			return err
		}
		t.ClientAddrs = append(t.ClientAddrs, addr.Addr())
	}
	if err := t.Client.AddRoute(single(t.VIP), t.BalancerAddr); err != nil || t.opts.mixed() {
		return err
	}
	// Backends of a NAT service can be asked directly, too: the answer comes
	// by the balancer, which routes what is for no VIP.
	return t.Client.AddRoute(t.plan.backendNet.Masked(), t.BalancerAddr)
}

func (t *Topology) addBackends() error {
	for i := range t.opts.Backends {
		if err := t.addBackend(i); err != nil {
			return err
		}
	}
	return nil
}

func (t *Topology) addBackend(i int) error {
	name, number := fmt.Sprintf("backend%d", i), backendNumber(t.plan.backendNet, i)
	addr := host(t.plan.backendNet, number)
	ns, err := t.newHost(name)
	if err != nil {
		return err
	}
	t.Backends = append(t.Backends, Host{NS: ns, Addr: addr.Addr()})
	if err := errors.Join(t.plug(ns, name, number), ns.AddAddr(NIC, addr)); err != nil {
		return err
	}
	if t.opts.Forward == lb.SNAT {
		return nil
	}
	if t.opts.Forward == lb.NAT {
		return ns.AddRoute(anywhere(t.VIP), t.plan.backendNet.Addr())
	}
	nearClients := host(t.plan.clientNet, backendNumber(t.plan.clientNet, i))
	if err := ns.AddAddr(NIC, nearClients); err != nil || t.opts.Forward.Tunnel() {
		return err
	}
	return errors.Join(ns.Set(dsrSysctls()), ns.AddAddr("lo", single(t.VIP)))
}

func (t *Topology) newHost(name string) (*NS, error) {
	ns, err := CreateNS(t.opts.Prefix + "-" + name)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(ns.Set(hostSysctls()), ns.LoopbackUp()); err != nil {
		return nil, errors.Join(err, ns.Delete())
	}
	return ns, nil
}

// plug joins a host's NIC to a port of the switch that has the host's name.
func (t *Topology) plug(ns *NS, port string, number int) error {
	if err := t.wire(ns, port, number); err != nil {
		return err
	}
	return t.Switch.Enslave(port, bridgeName)
}

func (t *Topology) wire(ns *NS, port string, number int) error {
	return Veth(
		End{NS: ns, Name: NIC, MAC: mac(hostSide, number)},
		End{NS: t.Switch, Name: port, MAC: mac(switchSide, number)},
	)
}
