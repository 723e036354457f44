package bpf_test

import (
	"errors"
	"net/netip"
	"testing"

	"weir/loader/lb"
)

// The service that a CPU found last is no longer found when it is withdrawn, even
// while flows keep its entry, and comes after one of a packet's own port.
func TestNewFlowsFollowTheListOfServices(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		own := lb.VIP{Addr: f.all.Addr, Port: 81, Proto: lb.TCP}
		every, web, exact := one(dsr(f.all, f.a)), one(dsr(f.web, f.b)), one(dsr(own, f.c))
		n := 0
		expect := func(when string, to netip.AddrPort, want verdict) {
			t.Helper()
			n++
			var got verdict
			err := l.ns.Do(func() error {
				release, err := pin()
				if err != nil {
					return err
				}
				got, _, err = l.run("in0", packet(tcp, client(f, n).from, to).carrying(syn).bytes())
				return errors.Join(err, release())
			})
			if err != nil || got != want {
				t.Errorf("%s, %s: a new flow to %s: %s (%v), want %s", f.name, when, to, got, err, want)
			}
		}
		apply := func(services ...service) {
			t.Helper()
			if err := l.Apply(l.state(services)); err != nil {
				t.Fatal(err)
			}
		}
		l.load(t, append(every, web...)...)
		for range 2 { // first by the hash, then as the last
			expect("listed", at(f.web), tx)
		}
		expect("listed", port(f.all.Addr, 81), tx)
		apply(web...)
		expect("the other withdrawn", port(f.all.Addr, 81), pass)
		apply(every...)
		expect("withdrawn", at(f.web), pass)
		apply(append(every, web...)...)
		expect("listed again", at(f.web), tx)

		for range 2 {
			expect("every port", port(f.all.Addr, 81), tx)
		}
		apply(append(every, exact...)...)
		n++
		l.runCase(t, packetCase{services: append(every, exact...), steps: []step{
			packet(tcp, client(f, n).from, port(f.all.Addr, 81)).carrying(syn).sent(dsr(own, f.c)).opens(dsr(own, f.c)),
		}})
	}
}
