package weight

import (
	"net/netip"
	"testing"
	"time"

	"weir/loader/lb"
)

// rig is a pool with a clock of its own.
type rig struct {
	*testing.T
	pool *Pool
	now  time.Time
	seq  uint64
}

func endpoint(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80)
}

func backends(n int, limits ...lb.Limit) []Backend {
	all := make([]Backend, n)
	for i := range all {
		all[i] = Backend{Endpoint: endpoint(i), Configured: 1, Limits: limits}
	}
	return all
}

func newRig(t *testing.T, s lb.Law, all []Backend) *rig {
	t.Helper()
	p, err := NewPool(s, all)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{T: t, pool: p, now: time.Unix(1_000_000, 0)}
}

// with changes the pool's configuration.
func (r *rig) with(s lb.Law, all []Backend) {
	r.Helper()
	next, err := r.pool.With(r.now, s, all)
	if err != nil {
		r.Fatal(err)
	}
	r.pool = next
}

// second passes one, with what the backends report at its end.
func (r *rig) second(report func(i int) (Report, bool)) Result {
	r.Helper()
	r.now = r.now.Add(time.Second)
	r.seq++
	for i := range r.pool.members {
		if rep, ok := report(i); ok {
			rep.Seq = r.seq
			if err := r.pool.Report(r.now, r.pool.members[i].Endpoint, rep); err != nil {
				r.Fatal(err)
			}
		}
	}
	return r.pool.Step(r.now)
}

func (r *rig) seconds(n int, report func(i int) (Report, bool)) (notices []Notice) {
	r.Helper()
	for range n {
		notices = append(notices, r.second(report).Notices...)
	}
	return notices
}

func mute(int) (Report, bool) { return Report{}, false }

// says is a report of one metric by backend.
func says(metric string, values ...float64) func(int) (Report, bool) {
	return func(i int) (Report, bool) {
		return Report{Rate: 100, Values: map[string]float64{metric: values[i]}}, true
	}
}

func (r *rig) want(why string, weights ...lb.EffectiveWeight) {
	r.Helper()
	got := r.pool.Weights()
	for i := range weights {
		if got[i] != weights[i] {
			r.Fatalf("%s: weights %v, want %v", why, got, weights)
		}
	}
}

func (r *rig) part(i int, name string) Part {
	r.Helper()
	e, ok := r.pool.Explain(r.now, endpoint(i))
	if !ok {
		r.Fatalf("backend %d is not in the pool", i)
	}
	for _, p := range e.Parts {
		if p.Name == name {
			return p
		}
	}
	r.Fatalf("no part %q in %+v", name, e)
	return Part{}
}

func kinds(notices []Notice) (all []NoticeKind) {
	for _, n := range notices {
		all = append(all, n.Kind)
	}
	return all
}

func capacityLaw() lb.Law {
	s := lb.DefaultLaw()
	s.Mode = lb.ModeCapacity
	return s
}

func cutoffSettings() lb.Law {
	s := capacityLaw()
	s.Mode = lb.ModeCutoff
	return s
}
