package control

import (
	"weir/loader/lb"
	"weir/loader/table"
)

// build makes a pool's table from its backends' effective weights, which are
// in the pool's order.
func build(p lb.Pool, effective []lb.EffectiveWeight, seed uint64) (lb.Table, error) {
	return table.Build(p.Algorithm, entries(p, effective), p.TableSize, seed)
}

func entries(p lb.Pool, effective []lb.EffectiveWeight) []table.Entry {
	all := make([]table.Entry, len(p.Backends))
	for i, b := range p.Backends {
		all[i] = table.Entry{ID: b.Endpoint().String(), Weight: effective[i]}
	}
	return all
}
