package control

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"weir/loader/lb"
)

// Kinds of the events that control publishes; the data plane adds its own.
const (
	KindConfig  = "config"  // a configuration was loaded or refused
	KindBackend = "backend" // a backend came, went, or changed weight
	KindTable   = "table"   // the table that backends are picked from changed
	KindPool    = "pool"    // so much of a pool is down that health is ignored, or no longer
	KindApply   = "apply"   // the data plane refused a change, or recovered
	KindLost    = "lost"    // a listener was too slow
)

const reasonWeight = "weight"

// changes tells in events how next differs from before.
func changes(before, next desired) []lb.Event {
	var all []lb.Event
	for _, name := range changedPools(before, next) {
		old, now := before.pool(name), next.pool(name)
		if old == nil {
			old = &poolTable{}
		}
		if now == nil {
			now = &poolTable{}
		}
		all = append(all, backendChanges(name, old, now)...)
		all = append(all, tableChange(name, old, now)...)
	}
	return all
}

// changedPools are the names of those that may differ, sorted.
func changedPools(before, next desired) []string {
	var names []string
	for i, p := range next.pools {
		if i >= len(before.pools) || before.pools[i] != p {
			names = append(names, p.pool.Name)
		}
	}
	for i, p := range before.pools {
		kept := i < len(next.pools) && next.pools[i].pool.Name == p.pool.Name
		if !kept && next.pool(p.pool.Name) == nil {
			names = append(names, p.pool.Name)
		}
	}
	slices.Sort(names)
	return names
}

func backendChanges(pool string, old, now *poolTable) []lb.Event {
	if sameMemory(old.backends, now.backends) {
		return nil
	}
	was, is := old.weights(), now.weights()
	both := maps.Clone(was)
	maps.Copy(both, is)
	var all []lb.Event
	for _, ep := range slices.SortedFunc(maps.Keys(both), netip.AddrPort.Compare) {
		before, had := was[ep]
		after, has := is[ep]
		var reason, text string
		switch {
		case !had:
			reason, text = "added", "added with weight "+FormatWeight(after)
		case !has:
			reason, text = "removed", "removed, its flows finish"
		case before != after:
			reason, text = reasonWeight, fmt.Sprintf("weight %s -> %s", FormatWeight(before), FormatWeight(after))
		default:
			continue
		}
		all = append(all, lb.Event{Kind: KindBackend, Reason: reason, Backend: ep.String(),
			Message: "backend " + Ref{pool, ep}.String() + ": " + text})
	}
	return all
}

func (t *poolTable) weights() map[netip.AddrPort]lb.EffectiveWeight {
	all := make(map[netip.AddrPort]lb.EffectiveWeight, len(t.backends))
	for _, b := range t.backends {
		all[b.Endpoint] = b.Effective
	}
	return all
}

func tableChange(pool string, old, now *poolTable) []lb.Event {
	moved := movedEntries(old, now)
	if moved == 0 {
		return nil
	}
	return []lb.Event{{Kind: KindTable, Reason: now.table.Algorithm.String(),
		Message: fmt.Sprintf("pool %s: %d of %d table entries moved", pool, moved, max(len(old.table.Slots), len(now.table.Slots)))}}
}

// movedEntries counts the entries that lead to another backend than before.
func movedEntries(old, now *poolTable) int {
	a, b := old.table.Slots, now.table.Slots
	if sameMemory(a, b) { // a table is built anew when its backends change
		return 0
	}
	moved := max(len(a), len(b)) - min(len(a), len(b))
	for i := range min(len(a), len(b)) {
		if old.backends[old.table.Slot(i)].Endpoint != now.backends[now.table.Slot(i)].Endpoint {
			moved++
		}
	}
	return moved
}

// FormatWeight writes an effective weight in units of configured ones: "3",
// "0.5".
func FormatWeight(w lb.EffectiveWeight) string {
	return fmt.Sprintf("%.4g", Units(w))
}

// Units is an effective weight in units of configured ones.
func Units(w lb.EffectiveWeight) float64 { return float64(w) / float64(lb.EffectiveUnit) }
