package balance

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"weir/loader/table"
)

// schedule picks in turns, by the schedule that layer 4 uses.
type schedule struct {
	members []Member
	slots   []uint32
	turn    atomic.Uint64
}

func newSchedule(members []Member, equal bool) (*schedule, error) {
	s := &schedule{members: members}
	if equal {
		s.slots = table.RoundRobin(weights(members))
	} else {
		slots, err := table.SmoothWRR(weights(members))
		if err != nil {
			return nil, fmt.Errorf("balance %d backends: %w", len(members), err)
		}
		s.slots = slots
	}
	s.turn.Store(rand.Uint64() >> 1) // changes of weights must not favour the first
	return s, nil
}

// Pick implements Picker.
func (s *schedule) Pick(_ uint64, avoid []int) int {
	if len(s.slots) == 0 {
		return -1
	}
	return walk(s.members, s.slots, s.turn.Add(1), avoid)
}

// walk takes the first member from a position in slots on that can be taken.
func walk(members []Member, slots []uint32, from uint64, avoid []int) int {
	at := int(from % uint64(len(slots)))
	if i := int(slots[at]); take(members, i, avoid) {
		return i
	}
	tried := make([]bool, len(members))
	for n := range slots {
		i := int(slots[(at+n)%len(slots)])
		if tried[i] {
			continue
		}
		if take(members, i, avoid) {
			return i
		}
		tried[i] = true
	}
	return -1
}
