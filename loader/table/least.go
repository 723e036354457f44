package table

import (
	"fmt"
	"slices"

	"weir/loader/lb"
)

const (
	leastWeightShift = 16 // ENTRY_WEIGHT_SHIFT in bpf/pick.h
	leastMax         = 1<<leastWeightShift - 1

	// LeastExact is the largest pool of which the kernel compares every
	// backend; of larger ones it compares two.
	LeastExact = 32
)

// LeastConn lists what the kernel compares for a new flow: slots with their
// weights in the high 16 bits. Up to LeastExact backends are there once each;
// of more, each as often as in a smooth weighted round-robin schedule, so that
// candidates drawn from it follow the weights.
func LeastConn(weights []lb.EffectiveWeight) ([]uint32, error) {
	if len(weights) > leastMax {
		return nil, fmt.Errorf("%d backends are more than least_conn can have (%d)", len(weights), leastMax)
	}
	if slots := RoundRobin(weights); len(slots) <= LeastExact {
		return withWeights(slots, weights), nil
	}
	return Random(weights)
}

// Random lists the candidates of which the kernel draws two and takes the less
// loaded: each backend as often as in a smooth weighted round-robin schedule,
// so that draws follow the weights.
func Random(weights []lb.EffectiveWeight) ([]uint32, error) {
	if len(weights) > leastMax {
		return nil, fmt.Errorf("%d backends are more than random can have (%d)", len(weights), leastMax)
	}
	slots, err := SmoothWRR(weights)
	if err != nil {
		return nil, err
	}
	return withWeights(slots, weights), nil
}

func withWeights(slots []uint32, weights []lb.EffectiveWeight) []uint32 {
	if len(slots) == 0 {
		return nil
	}
	top := max(slices.Max(weights), leastMax)
	entries := make([]uint32, len(slots))
	for i, slot := range slots {
		w := uint64(weights[slot]) * leastMax / uint64(top)
		entries[i] = uint32(max(w, 1))<<leastWeightShift | slot
	}
	return entries
}
