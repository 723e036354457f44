package balance

import (
	"math/rand/v2"
	"slices"
)

// random picks the less busy of two that are drawn by weight (Mitzenmacher,
// "The Power of Two Choices in Randomized Load Balancing", 2001).
type random struct {
	members []Member
	sums    []uint64 // of the weights up to each member
}

func newRandom(members []Member) *random {
	r := &random{members: members, sums: make([]uint64, len(members))}
	sum := uint64(0)
	for i, m := range members {
		sum += uint64(m.Weight)
		r.sums[i] = sum
	}
	return r
}

// Pick implements Picker.
func (r *random) Pick(_ uint64, avoid []int) int {
	n := len(r.sums)
	if n == 0 || r.sums[n-1] == 0 {
		return -1
	}
	first, second := r.draw(), r.draw()
	if busier(r.members[first], r.members[second]) {
		first, second = second, first
	}
	for _, i := range [2]int{first, second} {
		if take(r.members, i, avoid) {
			return i
		}
	}
	from := rand.IntN(n) // both are full or avoided: the next that is not
	for k := range n {
		if i := (from + k) % n; r.members[i].Weight > 0 && take(r.members, i, avoid) {
			return i
		}
	}
	return -1
}

func (r *random) draw() int {
	at := rand.Uint64N(r.sums[len(r.sums)-1])
	i, _ := slices.BinarySearch(r.sums, at+1)
	return i
}
