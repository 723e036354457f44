package bpf_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"weir/loader/lb"
	algorithm "weir/loader/table"
)

// leastConn is a service of n backends with weights in turn.
func leastConn(t *testing.T, f family, n int, weights ...lb.EffectiveWeight) service {
	t.Helper()
	s := service{vip: f.web, forward: lb.DSR, algo: lb.LeastConn}
	var all []lb.EffectiveWeight
	for i := range n {
		b := f.a.AsSlice()
		b[len(b)-1] = byte(i + 1)
		a, _ := netip.AddrFromSlice(b)
		s.backends = append(s.backends, port(a, 0))
		all = append(all, weights[i%len(weights)]*lb.EffectiveUnit)
	}
	var err error
	if s.table, err = algorithm.LeastConn(all); err != nil {
		t.Fatal(err)
	}
	return s
}

// actives are the active flows of a service's backends, in its order.
func (l *lab) actives(t *testing.T, s service) (out []int64) {
	t.Helper()
	now := l.counters(t).backends
	for _, b := range s.backends {
		out = append(out, now[owner{s.vip, b}].active)
	}
	return out
}

// The active flows of a small pool are as the weights are: exactly, whenever
// they can be, and never more than one flow above that.
func TestLeastConnFollowsWeights(t *testing.T) {
	l := newLab(t)
	behind := append(make([]lb.EffectiveWeight, 40), 1, 2, 1) // most of the pool is drained
	for _, f := range []family{ip4, ip6} {
		for _, weights := range [][]lb.EffectiveWeight{{1}, {1, 2, 4}, {1, 1, 1}, {5, 1}, {10, 10, 1}, behind} {
			s := leastConn(t, f, len(weights), weights...)
			l.load(t, s)
			total := lb.EffectiveWeight(0)
			for _, w := range weights {
				total += w
			}
			for n := 1; n <= 140; n++ {
				l.mustRun(t, client(f, n).bytes())
				for i, got := range l.actives(t, s) {
					want := float64(n) * float64(weights[i]) / float64(total)
					exact := n%int(total) == 0
					above := float64(got) - want
					if above > 1 || -above > float64(len(weights)-1) || exact && above != 0 {
						t.Fatalf("%s, weights %v: after %d flows backend %d has %d, want %.1f", f.name, weights, n, i, got, want)
					}
				}
			}
		}
	}
}

// The backend whose flows end gets the next ones, one for each.
func TestLeastConnRefillsWhoLosesFlows(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		s := leastConn(t, f, 3, 1)
		l.load(t, s)
		got := l.picks(t, 30, func(i int) frame { return client(f, i) })
		for _, ends := range []uint8{rst, fin | ack} {
			at := slices.IndexFunc(got, netip.AddrPort.IsValid)
			loser, ended := got[at], 0
			for i, b := range got {
				if b == loser && ended < 4 {
					l.mustRun(t, client(f, i).carrying(ends).bytes())
					got[i], ended = netip.AddrPort{}, ended+1
				}
			}
			base := len(got)
			got = append(got, l.picks(t, 4, func(i int) frame { return client(f, base+i) })...)
			for i := range 4 {
				if got[base+i] != loser {
					t.Errorf("%s: new flow %d went to %s, want %s, which lost 4", f.name, i, got[base+i], loser)
				}
			}
		}
	}
}

// Of backends that are equally loaded the first flow takes any.
func TestLeastConnTiesSpread(t *testing.T) {
	l := newLab(t)
	const n, backends = 400, 4
	for _, f := range []family{ip4, ip6} {
		l.load(t, leastConn(t, f, backends, 1))
		share := map[netip.AddrPort]int{}
		for i := range n {
			l.forget(t)
			share[l.picks(t, 1, func(int) frame { return client(f, i) })[0]]++
		}
		for b, got := range share { // 100, with a standard deviation of 9
			if got < 60 || got > 140 || len(share) != backends {
				t.Errorf("%s: %s was first %d times of %d", f.name, b, got, n)
			}
		}
	}
}

// Pools of which only two backends are compared stay even too.
func TestLeastConnOfManyIsEven(t *testing.T) {
	l := newLab(t)
	const flows = 4000
	for _, f := range []family{ip4, ip6} {
		for _, weights := range [][]lb.EffectiveWeight{{1}, {1, 3}} {
			t.Run(fmt.Sprint(f.name, " ", weights), func(t *testing.T) {
				s := leastConn(t, f, algorithm.LeastExact+8, weights...)
				l.load(t, s)
				for i := range flows {
					v, _ := l.mustRun(t, client(f, i).bytes())
					if v != tx && v != redirect {
						t.Fatalf("flow %d: verdict %v", i, v)
					}
				}
				total, sum := 0.0, int64(0)
				for i := range s.backends {
					total += float64(weights[i%len(weights)])
				}
				for i, got := range l.actives(t, s) {
					sum += got
					mean := flows * float64(weights[i%len(weights)]) / total
					if float64(got) > 1.5*mean || float64(got) < mean/1.5 {
						t.Errorf("backend %d has %d flows, its share is %.0f", i, got, mean)
					}
				}
				if sum < flows*99/100 {
					t.Errorf("%d flows are active, want %d", sum, flows)
				}
			})
		}
	}
}
