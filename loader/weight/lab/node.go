package lab

import (
	"fmt"
	"net/netip"
	"time"

	"weir/loader/lb"
	"weir/loader/table"
	"weir/loader/weight"
)

// tableSize leaves a backend at the lower bound of its weight ten entries.
const tableSize = 2039

// node is one balancer: its control law, its table, its flows.
type node struct {
	algorithm Algorithm
	settings  lb.Law
	pool      *weight.Pool
	reported  []float64 // naive: CPU by slot
	weights   []lb.EffectiveWeight
	table     []uint32 // entries: slots, with weights in the high bits where loads are compared
	cursor    int
	traffic   []weight.Traffic // by slot
	published uint64
	entries   uint64 // moved
	flows     uint64 // moved
	broken    uint64
	largest   float64 // part of the table that a publish moved
	sets      []uint8 // of the flow table: how many flows each has
}

// The flow table: sets of eight, of which a live flow is never evicted. That
// of the default configuration is larger.
const (
	flowSets = 1 << 16
	setSize  = 8
)

// store reports whether the flow table has room for another flow.
func (n *node) store(hash uint64) bool {
	set := &n.sets[mix(hash^1)%flowSets]
	if *set == setSize {
		return false
	}
	*set++
	return true
}

// forget ends a flow.
func (n *node) forget(f *flow) {
	n.traffic[f.server].Active--
	if f.stored {
		n.sets[mix(f.hash^1)%flowSets]--
	}
}

func newNode(a Algorithm, sc Scenario) (*node, error) {
	n := &node{
		algorithm: a, settings: a.settings(sc.SlowStart),
		reported: make([]float64, len(sc.Servers)), traffic: make([]weight.Traffic, len(sc.Servers)), sets: make([]uint8, flowSets),
	}
	var err error
	if n.pool, err = weight.NewPool(n.settings, n.backends(sc, 0)); err != nil {
		return nil, err
	}
	return n, n.rebuild()
}

// backends are those that are in the pool at a time. All have the same
// configured weight.
func (n *node) backends(sc Scenario, now time.Duration) (all []weight.Backend) {
	for i, s := range sc.Servers {
		if s.Joins > now {
			continue
		}
		b := weight.Backend{Endpoint: endpoint(i), Configured: 1}
		if n.algorithm.Limit > 0 {
			b.Limits = []lb.Limit{lb.RatioLimit("cpu", n.algorithm.Limit)}
		}
		all = append(all, b)
	}
	return all
}

func endpoint(i int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(11 + i)}), 80)
}

func (n *node) report(now time.Time, slot int, r weight.Report) error {
	n.reported[slot] = r.Values["cpu"]
	return n.pool.Report(now, endpoint(slot), r)
}

// step is the control loop, once in a second. It reports whether the table is
// another one.
func (n *node) step(now time.Time) (bool, error) {
	for slot, t := range n.traffic {
		n.pool.Traffic(now, endpoint(slot), t)
	}
	if changed := n.pool.Step(now).Changed; !changed && !n.algorithm.Naive {
		return false, nil
	}
	return true, n.rebuild()
}

// rebuild makes the table of the weights as they are now.
func (n *node) rebuild() error {
	n.weights = n.pool.Weights()
	if n.algorithm.Naive {
		for i := range n.weights {
			n.weights[i] = lb.EffectiveWeight(1 + 63*(1-n.reported[i]))
		}
	}
	before := n.table
	var err error
	if n.table, err = n.build(); err != nil {
		return fmt.Errorf("table of weights %v: %w", n.weights, err)
	}
	if before != nil {
		n.published++
		moved := differing(before, n.table)
		n.entries += moved
		n.largest = max(n.largest, float64(moved)/float64(len(n.table)))
	}
	return nil
}

func (n *node) build() ([]uint32, error) {
	if n.algorithm.Pick == LeastOfTwo {
		return candidates(n.weights)
	}
	entries := make([]table.Entry, len(n.weights))
	for i, w := range n.weights {
		entries[i] = table.Entry{ID: endpoint(i).String(), Weight: w}
	}
	t, err := table.Build(n.algorithm.table(), entries, tableSize, 1)
	return t.Slots, err
}

// candidates is the table that two choices are drawn from: what least_conn has
// for large pools.
func candidates(weights []lb.EffectiveWeight) ([]uint32, error) {
	slots, err := table.SmoothWRR(weights)
	for i, slot := range slots {
		slots[i] = uint32(weights[slot])<<16 | slot
	}
	return slots, err
}

func differing(a, b []uint32) (n uint64) {
	if len(a) != len(b) {
		return uint64(max(len(a), len(b)))
	}
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// pick is the slot of a new flow.
func (n *node) pick(hash uint64) int {
	size := uint64(len(n.table))
	switch n.algorithm.Pick {
	case InTurn:
		n.cursor++
		return int(n.table[uint64(n.cursor)%size] & 0xffff)
	case Least:
		return n.least(hash)
	case LeastOfTwo:
		a, b := n.table[(hash>>32)*size>>32], n.table[(hash&0xffffffff)*size>>32]
		if n.less(b, a) {
			a = b
		}
		return int(a & 0xffff)
	}
	return n.byHash(hash)
}

func (n *node) byHash(hash uint64) int {
	return int(n.table[(hash>>32)*uint64(len(n.table))>>32] & 0xffff)
}

// less compares flows by weight of two entries.
func (n *node) less(a, b uint32) bool {
	return n.traffic[a&0xffff].Active*uint64(b>>16) < n.traffic[b&0xffff].Active*uint64(a>>16)
}

// least is the entry with the fewest flows for its weight; of equals any, by
// weight.
func (n *node) least(hash uint64) int {
	best, equals := n.table[0], uint64(n.table[0]>>16)
	for _, e := range n.table[1:] {
		if n.less(best, e) {
			continue
		}
		if n.less(e, best) {
			equals = 0
		}
		hash = mix(hash)
		if equals += uint64(e >> 16); (hash>>32)*equals>>32 < uint64(e>>16) {
			best = e
		}
	}
	return int(best & 0xffff)
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
