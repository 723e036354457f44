package control

import (
	"weir/loader/lb"
	"weir/loader/table"
)

// build makes a pool's table from its backends as they are now, which are in
// the pool's order.
func build(p lb.Pool, backends []lb.BackendState, seed uint64) (lb.Table, error) {
	entries := make([]table.Entry, len(backends))
	for i, b := range backends {
		entries[i] = table.Entry{ID: b.Endpoint.String(), Weight: b.Effective}
	}
	return table.Build(p.Algorithm, entries, p.TableSize, seed)
}
