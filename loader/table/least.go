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
	slots := RoundRobin(weights)
	if len(slots) > LeastExact {
		var err error
		if slots, err = SmoothWRR(weights); err != nil {
			return nil, err
		}
	}
	if len(slots) == 0 {
		return nil, nil
	}
	top := max(slices.Max(weights), leastMax)
	entries := make([]uint32, len(slots))
	for i, slot := range slots {
		w := uint64(weights[slot]) * leastMax / uint64(top)
		entries[i] = uint32(max(w, 1))<<leastWeightShift | slot
	}
	return entries, nil
}
