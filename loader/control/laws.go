package control

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/loader/health"
	"weir/loader/lb"
	"weir/loader/weight"
)

// lawSet is the control law of each pool, in the configuration's order, and
// what they came to. It is for one goroutine.
type lawSet struct {
	pools    []lb.Pool
	laws     []*weight.Pool
	index    map[string]int
	weights  []*poolWeights // replaced whole, as what was given away is in use
	restless map[int]bool   // laws that time alone may move
}

// poolWeights is what a law came to. It is never changed.
type poolWeights struct {
	effective []lb.EffectiveWeight // in the pool's order
	panics    bool                 // so much is down that health is ignored
}

// poolNotice is a notice of one pool's law.
type poolNotice struct {
	pool string
	weight.Notice
}

// newLawSet makes the laws of a configuration, which go on where those of
// before, if any, are. before can be used again if the new ones are used no
// more.
func newLawSet(now time.Time, c lb.Config, before *lawSet) (*lawSet, error) {
	s := &lawSet{
		pools: c.Pools, laws: make([]*weight.Pool, len(c.Pools)), index: make(map[string]int, len(c.Pools)),
		weights: make([]*poolWeights, len(c.Pools)), restless: map[int]bool{},
	}
	for i, p := range c.Pools {
		law, err := before.next(now, p)
		if err != nil {
			return nil, fmt.Errorf("pool %s: %w", p.Name, err)
		}
		s.laws[i], s.index[p.Name] = law, i
	}
	return s, nil
}

// next is the law of a pool after a change of the configuration.
func (s *lawSet) next(now time.Time, p lb.Pool) (*weight.Pool, error) {
	law := p.Law
	if law == (lb.Law{}) {
		law = lb.DefaultLaw()
	}
	backends := make([]weight.Backend, len(p.Backends))
	for i, b := range p.Backends {
		backends[i] = weight.Backend{Endpoint: b.Endpoint(), Configured: b.Weight, Limits: b.Limits}
	}
	if s != nil {
		if i, known := s.index[p.Name]; known {
			return s.laws[i].With(now, law, backends)
		}
	}
	return weight.NewPool(law, backends)
}

// of is the law of a pool, nil if there is none of that name.
func (s *lawSet) of(pool string) *weight.Pool {
	if i, known := s.index[pool]; known {
		return s.laws[i]
	}
	return nil
}

// fill takes over all overrides and verdicts, as after a change of the
// configuration.
func (s *lawSet) fill(now time.Time, o Overrides, v verdicts, why func(Ref) string) {
	for i, p := range s.pools {
		for _, b := range p.Backends {
			r := Ref{p.Name, b.Endpoint()}
			s.laws[i].SetOverride(r.Endpoint, o.get(r))
			s.laws[i].SetHealth(now, r.Endpoint, v.health(r, why))
		}
	}
}

// stepAll steps every law.
func (s *lawSet) stepAll(now time.Time) []poolNotice {
	_, notices := s.step(now, slices.Sorted(maps.Values(s.index)))
	return notices
}

// stepRestless steps those that time alone may move.
func (s *lawSet) stepRestless(now time.Time) (bool, []poolNotice) {
	return s.step(now, slices.Sorted(maps.Keys(s.restless)))
}

// stepPools steps those of these names.
func (s *lawSet) stepPools(now time.Time, names map[string]bool) (bool, []poolNotice) {
	var some []int
	for name := range names {
		if i, known := s.index[name]; known {
			some = append(some, i)
		}
	}
	slices.Sort(some)
	return s.step(now, some)
}

// step reports whether any weight is another one.
func (s *lawSet) step(now time.Time, some []int) (changed bool, notices []poolNotice) {
	for _, i := range some {
		result := s.laws[i].Step(now)
		for _, n := range result.Notices {
			notices = append(notices, poolNotice{s.pools[i].Name, n})
		}
		if s.laws[i].Restless() {
			s.restless[i] = true
		} else {
			delete(s.restless, i)
		}
		if s.weights[i] != nil && !result.Changed && s.weights[i].panics == s.laws[i].Panics() {
			continue
		}
		if !changed {
			s.weights, changed = slices.Clone(s.weights), true
		}
		s.weights[i] = &poolWeights{s.laws[i].Weights(), s.laws[i].Panics()}
	}
	return changed, notices
}

// event tells a notice to those who listen.
func (n poolNotice) event() lb.Event {
	e := lb.Event{Kind: KindPool, Reason: string(n.Kind), Message: "pool " + n.pool + ": " + n.Text}
	if n.Endpoint.IsValid() {
		e.Kind, e.Backend = KindBackend, n.Endpoint.String()
		e.Message = "backend " + Ref{n.pool, n.Endpoint}.String() + ": " + n.Text
	}
	return e
}

// health is what a law is told of a backend.
func (v verdicts) health(r Ref, why func(Ref) string) weight.Health {
	is, checked := v[r]
	state := is.state
	switch {
	case !checked:
		return weight.Health{Up: true, Why: "not checked"}
	case state == health.Unknown:
		return weight.Health{Pending: true, Why: "no check has ended yet"}
	}
	return weight.Health{Up: state == health.Up, Why: why(r)}
}
