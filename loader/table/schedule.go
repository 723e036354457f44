package table

import (
	"fmt"

	"weir/loader/lb"
)

// MaxSchedule is the length of the longest weighted round-robin schedule.
// Weights whose reduced sum is larger are rounded to fit.
const MaxSchedule = 1 << 16

// RoundRobin lists every slot with a weight once, in order.
func RoundRobin(weights []lb.EffectiveWeight) []uint32 {
	var slots []uint32
	for slot, w := range weights {
		if w > 0 {
			slots = append(slots, uint32(slot))
		}
	}
	return slots
}

// SmoothWRR is a schedule in which every slot occurs in proportion to its
// weight and as evenly as nginx's smooth weighted round robin spreads it: in
// each step every slot gains its weight, and the slot that has gained most is
// next and loses the sum of all weights. With no positive weight it is nil.
func SmoothWRR(weights []lb.EffectiveWeight) ([]uint32, error) {
	reduced, sum, err := reduce(weights)
	if err != nil {
		return nil, fmt.Errorf("build weighted round-robin schedule: %w", err)
	}
	if sum == 0 {
		return nil, nil
	}
	groups := groupByWeight(reduced)
	schedule := make([]uint32, 0, sum)
	for range sum {
		schedule = append(schedule, step(groups, int64(sum)))
	}
	return schedule, nil
}

// ScheduleLen is the length of SmoothWRR's schedule for these weights.
func ScheduleLen(weights []lb.EffectiveWeight) (int, error) {
	_, sum, err := reduce(weights)
	return int(sum), err
}

// reduce divides the weights by their greatest common divisor and, where their
// sum is still over MaxSchedule, rounds them to fit. No weight becomes 0.
func reduce(weights []lb.EffectiveWeight) ([]uint64, uint64, error) {
	var divisor, sum, count uint64
	for _, w := range weights {
		if w > 0 {
			divisor, sum, count = gcd(divisor, uint64(w)), sum+uint64(w), count+1
		}
	}
	if count > MaxSchedule {
		return nil, 0, fmt.Errorf("%d backends with a weight are over %d", count, MaxSchedule)
	}
	reduced := make([]uint64, len(weights))
	if count == 0 {
		return reduced, 0, nil
	}
	if sum /= divisor; sum <= MaxSchedule {
		for i, w := range weights {
			reduced[i] = uint64(w) / divisor
		}
		return reduced, sum, nil
	}
	return reduced, shrink(reduced, weights, sum*divisor, MaxSchedule-count), nil
}

// shrink rounds the weights, of which the sum is given, to shares of room and
// at least 1. Rounding adds less than 1 to each, so with a room that leaves 1
// for each the result stays within MaxSchedule. It returns the new sum.
func shrink(reduced []uint64, weights []lb.EffectiveWeight, sum, room uint64) uint64 {
	var total uint64
	for i, w := range weights {
		if w > 0 {
			reduced[i] = max(1, (2*uint64(w)*room+sum)/(2*sum))
			total += reduced[i]
		}
	}
	return total
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// group is the slots of one weight. All gain the same in every step, so they
// have their turns one after the other, and a step looks at one slot per
// distinct weight. Of these there are at most 361 in a sum of MaxSchedule.
type group struct {
	weight int64
	slots  []uint32
	next   int   // index of the slot whose turn is next
	gained int64 // by that slot, less what it has lost
}

func groupByWeight(weights []uint64) []*group {
	byWeight := map[uint64]*group{}
	var groups []*group
	for slot, w := range weights {
		if w == 0 {
			continue
		}
		g := byWeight[w]
		if g == nil {
			g = &group{weight: int64(w)}
			byWeight[w] = g
			groups = append(groups, g)
		}
		g.slots = append(g.slots, uint32(slot))
	}
	return groups
}

// step lets every slot gain its weight and takes the one that has most, of
// equals the lowest.
func step(groups []*group, sum int64) uint32 {
	var most *group
	for _, g := range groups {
		g.gained += g.weight
		if most == nil || g.before(most) {
			most = g
		}
	}
	return most.take(sum)
}

func (g *group) before(o *group) bool {
	return g.gained > o.gained || g.gained == o.gained && g.slots[g.next] < o.slots[o.next]
}

// take hands out the slot whose turn it is. The slot after it has lost as
// often, until the round is complete: then the first has lost once more.
func (g *group) take(sum int64) uint32 {
	slot := g.slots[g.next]
	if g.next++; g.next == len(g.slots) {
		g.next = 0
		g.gained -= sum
	}
	return slot
}
