package netlab

import (
	"errors"
	"fmt"
	"net/netip"
)

// NewHost makes a host in a namespace of its own that Close deletes. It is
// connected to nothing.
func (t *Topology) NewHost(name string) (*NS, error) {
	ns, err := t.newHost(name)
	if err == nil {
		t.more = append(t.more, ns)
	}
	return ns, err
}

// Join plugs a host into the switch. It gets an address in both networks whose
// last byte is number, 220 to 254, which no other host may have.
func (t *Topology) Join(ns *NS, port string, number int) (nearClients, nearBackends netip.Addr, err error) {
	if number < firstJoined || number > 254 {
		return netip.Addr{}, netip.Addr{}, fmt.Errorf("host number %d: must be %d to 254", number, firstJoined)
	}
	a, b := host(t.plan.clientNet, number), host(t.plan.backendNet, number)
	err = errors.Join(
		t.plug(ns, port, number),
		t.Switch.PassAll(port),
		ns.AddAddr(NIC, a),
		ns.AddAddr(NIC, b),
	)
	return a.Addr(), b.Addr(), err
}

// Forwarding lets the namespace forward packets of others.
func (n *NS) Forwarding() error { return n.Set(routerSysctls()) }
