package bpf_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"weir/loader/lb"
)

// picks opens n flows and says which backend each was given.
func (l *lab) picks(t *testing.T, n int, flow func(i int) frame) (out []netip.AddrPort) {
	t.Helper()
	err := l.ns.Do(func() error {
		for i := range n {
			in := flow(i)
			if _, _, err := l.run("in0", in.bytes()); err != nil {
				return err
			}
			f, found, err := l.FindFlow(in.key())
			if err != nil || !found {
				t.Fatalf("flow %d is not in the table (%v)", i, err)
			}
			out = append(out, f.Endpoint)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A schedule is followed from its start and over its end, by new flows only.
func TestRoundRobinFollowsTheTable(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		backends := addrs(port(f.a, 0), port(f.b, 0), port(f.c, 0))
		for _, schedule := range [][]uint32{{0, 1, 2}, {0, 0, 1, 0, 2}, {2}, {1, 2, 1, 2, 0, 1, 2}} {
			l.load(t, service{vip: f.web, forward: lb.DSR, algo: lb.WeightedRoundRobin, backends: backends, table: schedule})
			for i, got := range l.picks(t, 3*len(schedule)+1, func(i int) frame { return client(f, i) }) {
				if want := backends[schedule[i%len(schedule)]]; got != want {
					t.Errorf("%s, table %v: flow %d went to %s, want %s", f.name, schedule, i, got, want)
				}
			}
		}
	}
}

// Flows that are seen in the middle are chosen for by hash and take no turn.
func TestFlowsWithoutSYNTakeNoTurn(t *testing.T) {
	l := newLab(t)
	f := ip4
	backends := addrs(port(f.a, 0), port(f.b, 0), port(f.c, 0))
	l.load(t, service{vip: f.web, forward: lb.DSR, backends: backends})
	got := l.picks(t, 60, func(i int) frame {
		if i%2 == 1 {
			return client(f, i).carrying(ack)
		}
		return client(f, i)
	})
	for i := 0; i < len(got); i += 2 {
		if want := backends[i/2%3]; got[i] != want {
			t.Errorf("SYN %d went to %s, want %s", i/2, got[i], want)
		}
	}
}

// By hash the same flow goes to the same backend for as long as the seed is
// the same, whatever else came before.
func TestHashPicksAgainAlike(t *testing.T) {
	f := ip6
	svc := service{vip: f.web, forward: lb.DSR, algo: lb.Maglev, backends: addrs(port(f.a, 0), port(f.b, 0), port(f.c, 0))}
	for range 997 {
		svc.table = append(svc.table, uint32(len(svc.table)%3))
	}
	pick := func(seed uint64) []netip.AddrPort {
		l := newLab(t)
		c := l.config
		c.Seed = seed
		if err := l.Configure(c); err != nil {
			t.Fatal(err)
		}
		l.load(t, svc)
		return l.picks(t, 300, func(i int) frame { return client(f, i) })
	}
	one, two, other := pick(7), pick(7), pick(8)
	share, differ := map[netip.AddrPort]int{}, 0
	for i := range one {
		share[one[i]]++
		if one[i] != two[i] {
			t.Errorf("flow %d: %s with a seed, %s with the same", i, one[i], two[i])
		}
		if one[i] != other[i] {
			differ++
		}
	}
	// Expected are 100 flows each, with a standard deviation of 8, and 200
	// that differ.
	for b, n := range share {
		if n < 60 || n > 140 {
			t.Errorf("%s has %d of 300 flows", b, n)
		}
	}
	if len(share) != 3 || differ < 150 {
		t.Errorf("%d backends used, %d flows differ with another seed", len(share), differ)
	}
}

// The loader's hash is the program's: it finds what the program stored.
func TestLoaderFindsFlows(t *testing.T) {
	l := newLab(t)
	r := rand.New(rand.NewPCG(3, 4))
	for _, f := range []family{ip4, ip6} {
		l.load(t, append(one(dsr(f.web, f.a)), one(dsr(f.allUDP, f.b))...)...)
		for range 25 {
			l.forget(t)
			l.picks(t, 200, func(i int) frame {
				if i%2 == 0 {
					return packet(tcp, anyone(f, r), at(f.web))
				}
				return packet(udp, anyone(f, r), port(f.allUDP.Addr, uint16(r.Uint32())))
			})
		}
	}
}

// anyone is any address of the family.
func anyone(f family, r *rand.Rand) netip.AddrPort {
	b := f.client.Addr().AsSlice()
	for i := range b {
		b[i] = uint8(r.Uint32())
	}
	a, _ := netip.AddrFromSlice(b)
	return port(a, uint16(r.Uint32()))
}
