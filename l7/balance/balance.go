// Package balance chooses the backend of each request of a pool.
package balance

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"weir/loader/lb"
)

// Algorithm is how a backend is chosen. The names are those of the
// configuration.
type Algorithm string

// Algorithms. All but RoundRobin follow the weights.
const (
	RoundRobin Algorithm = "round_robin"
	Weighted   Algorithm = "weighted_round_robin"
	LeastConn  Algorithm = "least_conn" // requests under way by weight, exact
	Random     Algorithm = "random"     // the better of two
	Maglev     Algorithm = "maglev"     // by key, the same on every node
)

// Endpoint is a backend with its requests under way. It outlives pickers, which
// are made anew when weights change.
type Endpoint struct {
	Addr  netip.AddrPort
	Limit int64 // requests under way at most; 0: any

	active atomic.Int64
}

// Active is how many requests are under way.
func (e *Endpoint) Active() int64 { return e.active.Load() }

// Begin counts a request as under way, and reports false if that would be one
// too many. Picks have done so.
func (e *Endpoint) Begin() bool {
	if n := e.active.Add(1); e.Limit == 0 || n <= e.Limit {
		return true
	}
	e.active.Add(-1)
	return false
}

// End counts a request as over.
func (e *Endpoint) End() { e.active.Add(-1) }

// Member is an endpoint with its weight in a picker. Weight 0 is not picked.
type Member struct {
	*Endpoint
	Weight lb.EffectiveWeight
}

// Picker chooses among members. It may be used by many goroutines at once.
type Picker interface {
	// Pick is the position of a member that avoid does not hold and that has
	// not reached its limit, and counts a request as under way there. -1: there
	// is none. key is for Maglev.
	Pick(key uint64, avoid []int) int
}

// New makes a picker of members. seed is for Maglev, and the same on all nodes
// that are to choose alike.
func New(a Algorithm, members []Member, seed uint64) (Picker, error) {
	members = slices.Clone(members)
	switch a {
	case RoundRobin:
		return newSchedule(members, true)
	case Weighted:
		return newSchedule(members, false)
	case LeastConn:
		return newLeast(members), nil
	case Random:
		return newRandom(members), nil
	case Maglev:
		return newMaglev(members, seed)
	}
	return nil, fmt.Errorf("unknown algorithm %q", a)
}

// take begins a request at member i unless it is to be avoided or full.
func take(members []Member, i int, avoid []int) bool {
	return !slices.Contains(avoid, i) && members[i].Begin()
}

// busier reports whether a has more requests under way by its weight than b.
func busier(a, b Member) bool {
	return a.Active()*int64(b.Weight) > b.Active()*int64(a.Weight)
}

// weights are those of members.
func weights(members []Member) []lb.EffectiveWeight {
	all := make([]lb.EffectiveWeight, len(members))
	for i, m := range members {
		all[i] = m.Weight
	}
	return all
}
