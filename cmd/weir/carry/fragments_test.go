package carry

import (
	"testing"

	"github.com/vishvananda/netlink"

	"weir/loader/lb"
)

const (
	largeDatagram = 4000 // bytes: three fragments
	tunnelledMTU  = 1400 // leaves room for every tunnel's headers
)

// Datagrams that senders fragment reach one backend, and so do their answers
// the client: in every mode, where the balancer rewrites the answers' fragments
// too.
func TestFragments(t *testing.T) {
	for _, p := range append(direct(lb.NAT, lb.SNAT, lb.DSR), tunnels()...) {
		t.Run(p.String(), func(t *testing.T) {
			l := newLab(t, p)
			if p.forward.Tunnel() {
				l.fitTunnels(t)
			}
			l.run(t)
			l.clients.size = largeDatagram
			l.clients.datagrams(t, 50, 4, 1)
			for _, s := range l.servers {
				if s.datagrams.Load() < 20 {
					t.Errorf("%s answered %d datagrams", s.name, s.datagrams.Load())
				}
			}
			l.nothingDropped(t)
		})
	}
}

// fitTunnels makes clients send fragments that fit every tunnel.
func (l *lab) fitTunnels(t *testing.T) {
	t.Helper()
	must(t, l.Client.Do(func() error {
		return netlink.RouteReplace(&netlink.Route{Dst: ipNet(single(l.VIP)), Gw: l.BalancerAddr.AsSlice(), MTU: tunnelledMTU})
	}))
}
