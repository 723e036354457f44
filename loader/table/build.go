package table

import (
	"fmt"

	"weir/loader/lb"
)

// Build makes the table of a pool whose backends are entries, in slot order.
// size and seed matter to Maglev only; see Maglev and SmoothWRR for what they
// refuse. With no positive weight the table has no slots.
func Build(algorithm lb.Algorithm, entries []Entry, size uint32, seed uint64) (lb.Table, error) {
	slots, err := build(algorithm, entries, size, seed)
	return lb.Table{Algorithm: algorithm, Slots: slots}, err
}

func build(algorithm lb.Algorithm, entries []Entry, size uint32, seed uint64) ([]uint32, error) {
	switch algorithm {
	case lb.Maglev:
		return Maglev(entries, size, seed)
	case lb.RoundRobin:
		return RoundRobin(weights(entries)), nil
	case lb.WeightedRoundRobin:
		return SmoothWRR(weights(entries))
	case lb.LeastConn:
		return LeastConn(weights(entries))
	case lb.Random:
		return Random(weights(entries))
	}
	return nil, fmt.Errorf("build table: no such algorithm: %s", algorithm)
}

func weights(entries []Entry) []lb.EffectiveWeight {
	ws := make([]lb.EffectiveWeight, len(entries))
	for i, e := range entries {
		ws[i] = e.Weight
	}
	return ws
}
