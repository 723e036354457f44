package control

import (
	"fmt"

	"weir/loader/lb"
	"weir/loader/table"
)

// build makes a pool's table from its backends' effective weights, which are
// in the pool's order.
func build(p lb.Pool, effective []lb.EffectiveWeight, seed uint64) (lb.Table, error) {
	t := lb.Table{Algorithm: p.Algorithm}
	var err error
	switch p.Algorithm {
	case lb.Maglev:
		t.Slots, err = table.Maglev(entries(p, effective), p.TableSize, seed)
	case lb.RoundRobin:
		t.Slots = table.RoundRobin(effective)
	case lb.WeightedRoundRobin:
		t.Slots, err = table.SmoothWRR(effective)
	default:
		err = fmt.Errorf("no table for %s", p.Algorithm)
	}
	return t, err
}

func entries(p lb.Pool, effective []lb.EffectiveWeight) []table.Entry {
	all := make([]table.Entry, len(p.Backends))
	for i, b := range p.Backends {
		all[i] = table.Entry{ID: b.Endpoint().String(), Weight: effective[i]}
	}
	return all
}
