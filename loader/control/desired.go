package control

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"weir/loader/lb"
	"weir/loader/weight"
)

// intent is what shall be: it is replaced whole, never changed in place.
type intent struct {
	config    lb.Config
	overrides Overrides
}

// desired is an intent turned into what the data plane shall hold.
type desired struct {
	state lb.State
	pools map[string]poolTable
}

// poolTable is a pool's table and all that it was built from, so that a table
// is built again only when one of these changes.
type poolTable struct {
	pool      lb.Pool
	seed      uint64
	effective []lb.EffectiveWeight
	table     lb.Table
}

// derive computes what the data plane shall hold, taking over the tables of
// before that still fit. A pool that no service uses has no table there.
func derive(want intent, hops map[netip.Addr]lb.NextHop, before desired) (desired, error) {
	next := desired{pools: map[string]poolTable{}}
	for _, p := range want.config.Pools {
		pt, err := tableOf(p, want, before.pools[p.Name])
		if err != nil {
			return desired{}, fmt.Errorf("building the table of pool %s: %w", p.Name, err)
		}
		next.pools[p.Name] = pt
	}
	next.state = stateOf(want.config.Services, next.pools, hops)
	return next, nil
}

func stateOf(services []lb.Service, pools map[string]poolTable, hops map[netip.Addr]lb.NextHop) lb.State {
	var st lb.State
	index := map[string]int{}
	for _, s := range services {
		if s.Forward == lb.L7 {
			st.Services = append(st.Services, lb.ServiceState{Service: s})
			continue
		}
		i, shared := index[s.Pool]
		if !shared {
			i = len(st.Tables)
			index[s.Pool] = i
			st.Tables = append(st.Tables, pools[s.Pool].table)
		}
		st.Services = append(st.Services, lb.ServiceState{Service: s, Table: i, Backends: pools[s.Pool].backends(hops)})
	}
	return st
}

func tableOf(p lb.Pool, want intent, before poolTable) (poolTable, error) {
	pt := poolTable{pool: p, seed: want.config.Seed, effective: effectiveWeights(p, want.overrides)}
	if pt.sameInputs(before) {
		pt.table = before.table
		return pt, nil
	}
	var err error
	pt.table, err = build(p, pt.effective, pt.seed)
	return pt, err
}

func effectiveWeights(p lb.Pool, overrides Overrides) []lb.EffectiveWeight {
	all := make([]lb.EffectiveWeight, len(p.Backends))
	for i, b := range p.Backends {
		in := weight.Inputs{Configured: b.Weight}
		if o, ok := overrides[Ref{p.Name, b.Endpoint()}]; ok {
			in.Override = &o
		}
		all[i] = weight.Effective(in)
	}
	return all
}

// sameInputs leaves configured weights out: only effective ones count.
func (t poolTable) sameInputs(o poolTable) bool {
	return t.pool.Name == o.pool.Name && t.pool.Algorithm == o.pool.Algorithm &&
		t.pool.TableSize == o.pool.TableSize && t.seed == o.seed &&
		slices.Equal(t.endpoints(), o.endpoints()) && slices.Equal(t.effective, o.effective)
}

func (t poolTable) endpoints() []netip.AddrPort {
	all := make([]netip.AddrPort, len(t.pool.Backends))
	for i, b := range t.pool.Backends {
		all[i] = b.Endpoint()
	}
	return all
}

func (t poolTable) backends(hops map[netip.Addr]lb.NextHop) []lb.BackendState {
	all := make([]lb.BackendState, len(t.pool.Backends))
	for i, b := range t.pool.Backends {
		all[i] = lb.BackendState{Endpoint: b.Endpoint(), Effective: t.effective[i], Hop: hops[b.Addr]}
	}
	return all
}

// hopAddrs are the backends' addresses, each once, sorted.
func hopAddrs(c lb.Config) []netip.Addr {
	set := map[netip.Addr]struct{}{}
	for _, p := range c.Pools {
		for _, b := range p.Backends {
			set[b.Addr] = struct{}{}
		}
	}
	return slices.SortedFunc(maps.Keys(set), netip.Addr.Compare)
}
