package carry

import (
	"testing"

	"github.com/vishvananda/netlink"

	"weir/loader/lb"
)

// Every mode and family, with tunnels of every family in every other.
func TestModes(t *testing.T) {
	for _, p := range append(direct(lb.NAT, lb.SNAT, lb.DSR, lb.L7), tunnels()...) {
		t.Run(p.String(), func(t *testing.T) { testMode(t, p) })
	}
}

// The kernel's own tunnel devices take out what weir puts in.
func TestModesIntoKernel(t *testing.T) {
	for _, p := range byKernel(tunnels()) {
		t.Run(p.String(), func(t *testing.T) { testMode(t, p) })
	}
}

// The balancer's only link carries clients with one tag and backends with two.
func TestModesOverVLANs(t *testing.T) {
	for _, p := range append(direct(lb.NAT, lb.SNAT, lb.DSR), tunnels()...) {
		p.trunk = true
		t.Run(p.String(), func(t *testing.T) { testMode(t, p) })
	}
}

// The balancer's only link is a bond, which has the program in native mode.
func TestModesOverBonds(t *testing.T) {
	for _, mode := range []netlink.BondMode{netlink.BOND_MODE_ACTIVE_BACKUP, netlink.BOND_MODE_BALANCE_XOR} {
		for _, p := range append(direct(lb.NAT, lb.SNAT, lb.DSR), plan{forward: lb.IPIP, vip: 4, backends: 4}) {
			p.bond = mode
			t.Run(p.String(), func(t *testing.T) { testMode(t, p) })
		}
	}
}

func testMode(t *testing.T, p plan) {
	l := start(t, p)
	l.clients.requests(t, 200, 1000)
	l.clients.requests(t, 8, 1<<20)
	l.clients.datagrams(t, 50, 4, 1)
	l.checkSpread(t)
	drops := l.nodes[0].drops(t)
	if p.forward.Tunnel() { // the first full segments learn the path's MTU
		delete(drops, "too_big")
	}
	if len(drops) > 0 {
		t.Errorf("dropped: %v", drops)
	}
}

// checkSpread: no server was left out.
func (l *lab) checkSpread(t *testing.T) {
	t.Helper()
	for _, s := range l.servers {
		if s.requests.Load() < 20 || s.datagrams.Load() < 20 {
			t.Errorf("%s answered %d requests and %d datagrams", s.name, s.requests.Load(), s.datagrams.Load())
		}
	}
}
