package control

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"weir/loader/lb"
)

// intent is what shall be: it is replaced whole, never changed in place.
type intent struct {
	config    lb.Config
	addrs     []netip.Addr   // the backends' addresses, each once, sorted
	pools     map[string]int // name -> index into config.Pools
	vips      map[string]int // VIP as written -> index into config.Services
	overrides Overrides
	health    verdicts
	weights   []*poolWeights // in the order of config.Pools
}

func newIntent(c lb.Config, o Overrides) intent {
	w := intent{
		config: c, addrs: hopAddrs(c), overrides: o,
		pools: make(map[string]int, len(c.Pools)),
		vips:  make(map[string]int, len(c.Services)),
	}
	for i, p := range c.Pools {
		w.pools[p.Name] = i
	}
	for i, s := range c.Services {
		w.vips[s.VIP.String()] = i
	}
	return w
}

// hops are the next hops that one Resolve answered for addrs.
type hops struct {
	addrs []netip.Addr
	known map[netip.Addr]lb.NextHop
	vlans []lb.VLAN
}

// desired is an intent turned into what the data plane shall hold. What two of
// them have in common is the same memory, so that a change costs what it
// changes and not what there is.
type desired struct {
	want  intent
	hops  *hops
	state lb.State
	pools []*poolTable // in the order of the configuration's
}

// pool is nil if there is none of that name.
func (d desired) pool(name string) *poolTable {
	if i, ok := d.want.pools[name]; ok {
		return d.pools[i]
	}
	return nil
}

// poolTable is a pool's table and all that it was built from. It is never
// changed.
type poolTable struct {
	pool     lb.Pool
	seed     uint64
	backends []lb.BackendState // in the pool's order
	table    lb.Table
}

// derive computes what the data plane shall hold, taking over from before what
// still fits. A pool that no service uses has no table there.
func derive(want intent, hops *hops, before desired) (desired, error) {
	next := desired{want: want, hops: hops, pools: make([]*poolTable, len(want.config.Pools))}
	sameConfig := sameMemory(want.config.Pools, before.want.config.Pools) && want.config.Seed == before.want.config.Seed
	for i, p := range want.config.Pools {
		if sameConfig && hops == before.hops && want.weights[i] == before.want.weights[i] {
			next.pools[i] = before.pools[i]
			continue
		}
		var err error
		if next.pools[i], err = before.pool(p.Name).next(p, want.weights[i], want.config.Seed, hops); err != nil {
			return desired{}, fmt.Errorf("building the table of pool %s: %w", p.Name, err)
		}
	}
	next.state = next.derivedState()
	return next, nil
}

func (d desired) derivedState() lb.State {
	st := lb.State{
		ACL:      d.want.config.ACL,
		Services: make([]lb.ServiceState, len(d.want.config.Services)),
		Tables:   make([]lb.Table, 0, len(d.pools)),
		VLANs:    d.hops.vlans,
	}
	tables := make([]int, len(d.pools)) // 1 + index into st.Tables, 0: not there yet
	for i, s := range d.want.config.Services {
		st.Services[i].Service = s
		if s.Forward == lb.L7 {
			continue
		}
		pool := d.want.pools[s.Pool]
		if tables[pool] == 0 {
			st.Tables = append(st.Tables, d.pools[pool].table)
			tables[pool] = len(st.Tables)
		}
		st.Services[i].Table, st.Services[i].Backends = tables[pool]-1, d.pools[pool].backends
		if s.VIP.Proto == lb.UDP {
			st.Services[i].QUIC = d.pools[pool].pool.QUIC
		}
	}
	return st
}

// next is the pool's table after a change. It shares with t, which may be nil,
// what is the same.
func (t *poolTable) next(p lb.Pool, weights *poolWeights, seed uint64, hops *hops) (*poolTable, error) {
	pt := &poolTable{pool: p, seed: seed, backends: backendsOf(p, weights, hops)}
	if t != nil && equal(t.backends, pt.backends) {
		pt.backends = t.backends
	}
	if t != nil && pt.sameInputs(t) {
		pt.table = t.table
		return pt, nil
	}
	var err error
	pt.table, err = build(p, pt.backends, pt.seed)
	return pt, err
}

func backendsOf(p lb.Pool, weights *poolWeights, hops *hops) []lb.BackendState {
	all := make([]lb.BackendState, len(p.Backends))
	for i, b := range p.Backends {
		all[i] = lb.BackendState{Endpoint: b.Endpoint(), Effective: weights.effective[i], Hop: hops.known[b.Addr], ServerID: b.ServerID}
	}
	return all
}

// sameInputs leaves out what a table does not depend on: configured weights,
// where only effective ones count, and next hops.
func (t *poolTable) sameInputs(o *poolTable) bool {
	return t.seed == o.seed && sameSettings(t.pool, o.pool) &&
		slices.EqualFunc(t.backends, o.backends, func(a, b lb.BackendState) bool {
			return a.Endpoint == b.Endpoint && a.Effective == b.Effective
		})
}

func sameSettings(a, b lb.Pool) bool {
	return a.Name == b.Name && a.Algorithm == b.Algorithm && a.TableSize == b.TableSize
}

// equal compares slices and takes no time for those that are the same memory.
func equal[T comparable](a, b []T) bool { return sameMemory(a, b) || slices.Equal(a, b) }

func sameMemory[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// sameState is cheap for states that derive made one from the other.
func sameState(a, b lb.State) bool {
	return a.ACL.Equal(b.ACL) && slices.EqualFunc(a.Services, b.Services, func(x, y lb.ServiceState) bool {
		return x.Service == y.Service && x.Table == y.Table && x.QUIC == y.QUIC && equal(x.Backends, y.Backends)
	}) && slices.EqualFunc(a.Tables, b.Tables, func(x, y lb.Table) bool {
		return x.Algorithm == y.Algorithm && equal(x.Slots, y.Slots)
	}) && slices.Equal(a.VLANs, b.VLANs)
}

// hopAddrs are the addresses of backends that frames may be sent to, each once,
// sorted. Those of pools that only the HTTP tier uses are the local stack's
// business.
func hopAddrs(c lb.Config) []netip.Addr {
	ofTier := map[string]bool{}
	for _, p := range c.Pools {
		ofTier[p.Name] = p.HTTP != nil
	}
	for _, s := range c.Services {
		ofTier[s.Pool] = false
	}
	set := map[netip.Addr]struct{}{}
	for _, p := range c.Pools {
		if ofTier[p.Name] {
			continue
		}
		for _, b := range p.Backends {
			set[b.Addr] = struct{}{}
		}
	}
	return slices.SortedFunc(maps.Keys(set), netip.Addr.Compare)
}
