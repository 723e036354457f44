package balance

import (
	"slices"
	"sync"
)

// least picks the member with the fewest requests under way by its weight. The
// lock makes it exact: no two picks see the same counts.
type least struct {
	members []Member

	mu   sync.Mutex
	gain []int64 // of the smooth round robin among equals
}

func newLeast(members []Member) *least {
	return &least{members: members, gain: make([]int64, len(members))}
}

// Pick implements Picker.
func (l *least) Pick(_ uint64, avoid []int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	best := -1
	for i, m := range l.members {
		if m.Weight == 0 || m.Limit > 0 && m.Active() >= m.Limit || slices.Contains(avoid, i) {
			continue
		}
		if best < 0 || busier(l.members[best], m) {
			best = i
		}
	}
	if best < 0 {
		return -1
	}
	best = l.turn(best, avoid)
	if !l.members[best].Begin() { // a sticky request was faster
		return -1
	}
	return best
}

// turn gives the turn to one of those that are as little busy as best: in each
// round all of them gain their weight, and who has most pays the sum.
func (l *least) turn(best int, avoid []int) int {
	chosen, sum := -1, int64(0)
	reference := l.members[best]
	for i, m := range l.members {
		if m.Weight == 0 || busier(m, reference) || m.Limit > 0 && m.Active() >= m.Limit || slices.Contains(avoid, i) {
			continue
		}
		l.gain[i] += int64(m.Weight)
		sum += int64(m.Weight)
		if chosen < 0 || l.gain[i] > l.gain[chosen] {
			chosen = i
		}
	}
	if chosen < 0 {
		return best
	}
	l.gain[chosen] -= sum
	return chosen
}
