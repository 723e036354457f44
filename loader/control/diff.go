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
	KindApply   = "apply"   // the data plane refused a change, or recovered
	KindLost    = "lost"    // a listener was too slow
)

// changes tells in events how next differs from before.
func changes(before, next desired) []lb.Event {
	var all []lb.Event
	names := maps.Clone(before.pools)
	maps.Copy(names, next.pools)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, now := before.pools[name], next.pools[name]
		all = append(all, backendChanges(name, old, now)...)
		all = append(all, tableChange(name, old, now)...)
	}
	return all
}

func backendChanges(pool string, old, now poolTable) []lb.Event {
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
			reason, text = "weight", fmt.Sprintf("weight %s -> %s", FormatWeight(before), FormatWeight(after))
		default:
			continue
		}
		all = append(all, lb.Event{Kind: KindBackend, Reason: reason, Backend: ep.String(),
			Message: "backend " + Ref{pool, ep}.String() + ": " + text})
	}
	return all
}

func (t poolTable) weights() map[netip.AddrPort]lb.EffectiveWeight {
	all := map[netip.AddrPort]lb.EffectiveWeight{}
	for i, b := range t.pool.Backends {
		all[b.Endpoint()] = t.effective[i]
	}
	return all
}

func tableChange(pool string, old, now poolTable) []lb.Event {
	moved := movedEntries(old, now)
	if moved == 0 {
		return nil
	}
	return []lb.Event{{Kind: KindTable, Reason: now.table.Algorithm.String(),
		Message: fmt.Sprintf("pool %s: %d of %d table entries moved", pool, moved, max(len(old.table.Slots), len(now.table.Slots)))}}
}

// movedEntries counts the entries that lead to another backend than before.
func movedEntries(old, now poolTable) int {
	a, b := old.table.Slots, now.table.Slots
	if len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] {
		return 0 // taken over, so its backends are the same
	}
	moved := max(len(a), len(b)) - min(len(a), len(b))
	was, is := old.endpoints(), now.endpoints()
	for i := range min(len(a), len(b)) {
		if was[a[i]] != is[b[i]] {
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
