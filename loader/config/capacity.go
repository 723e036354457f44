package config

import (
	"math/bits"
	"net/netip"

	"weir/loader/lb"
	"weir/loader/table"
)

// Ranges of the limits, and what they are at least if the file does not say;
// docs/config.md says what they cost.
const (
	maxServices       = 1<<16 - 1
	usualServices     = 1 << 10
	usualBackends     = 1 << 12
	minFlows          = 1 << 10
	maxFlows          = 1 << 26
	minTableEntries   = 1 << 10
	maxTableEntries   = 1 << 26
	minSources        = 1 << 10
	maxSources        = 1 << 24
	usualTableEntries = 1 << 20
)

// readLimits gives the limits for maps that are made anew and those that maps
// made earlier must have. A limit that the file does not name leaves room for
// as much again, so that everything can be replaced while the old drains, and
// is a power of two, so that it seldom differs between versions of a file.
func readLimits(r *report, l limits, need Needs) (fresh, least lb.Limits) {
	p := top.key("limits")
	limit := func(key string, named *int64, need, room, usual, lowest, highest int64) (fresh, least uint32) {
		if named != nil {
			n := inRange(r, p.key(key), *named, lowest, highest)
			return n, n
		}
		return uint32(min(highest, max(usual, powerOfTwo(room)))), uint32(min(highest, need))
	}
	services, backends, entries := int64(need.Services), int64(need.Backends), int64(need.TableEntries)
	fresh.Services, least.Services = limit("services", l.Services, services, 2*services, usualServices, 1, maxServices)
	fresh.Backends, least.Backends = limit("backends", l.Backends, backends, 2*backends, usualBackends, 1, lb.MaxBackends)
	fresh.TableEntries, least.TableEntries = limit("table_entries", l.TableEntries, entries, entries, usualTableEntries, minTableEntries, maxTableEntries)
	fresh.Flows = inRange(r, p.key("flows"), l.Flows, minFlows, maxFlows)
	fresh.Sources = inRange(r, p.key("sources"), l.Sources, minSources, maxSources)
	least.Flows, least.Sources = fresh.Flows, fresh.Sources
	return fresh, least
}

// powerOfTwo is the lowest that is not below n.
func powerOfTwo(n int64) int64 { return 1 << bits.Len64(uint64(max(n, 1)-1)) }

// Needs is how much of lb.Limits a configuration takes. TableEntries counts
// twice, as new tables are filled beside the old.
type Needs struct{ Services, Backends, TableEntries int }

// Need sums up a configuration.
func Need(c lb.Config) Needs {
	pools := make(map[string]lb.Pool, len(c.Pools))
	for _, p := range c.Pools {
		pools[p.Name] = p
	}
	pairs, entries := 0, 0
	used := map[string]bool{}
	for _, s := range c.Services {
		p, found := pools[s.Pool]
		if !found {
			continue
		}
		// Each table and each service's list of backends has a head.
		pairs += len(p.Backends)
		entries += len(p.Backends) + 1
		if !used[p.Name] {
			used[p.Name] = true
			entries += tableEntries(p) + 1
		}
	}
	return Needs{len(c.Services), pairs, 2 * entries}
}

// checkCapacity reports what does not fit into the kernel maps.
func checkCapacity(r *report, l lb.Limits, n Needs) {
	over(r, "services", n.Services, "services", "services", l.Services)
	over(r, "services", n.Backends, "backends (counted once per service that uses them)", "backends", l.Backends)
	// What is replaced stays until no packet can be using it.
	over(r, "pools", n.TableEntries, "table entries (all tables and lists of backends twice, as new ones are filled beside the old)",
		"table_entries", l.TableEntries)
}

// over reports a count over a limit. A limit of 0 is one that had a fault.
func over(r *report, key string, n int, what, name string, limit uint32) {
	if limit > 0 && n > int(limit) {
		r.field(top.key(key), "%d %s are over limits.%s (%d)", n, what, name, limit)
	}
}

// checkSNAT reports snat services that have no source address of their family.
func checkSNAT(r *report, c lb.Config) {
	for i, s := range c.Services {
		sources := c.SNAT.Source4
		if s.VIP.Addr.Is6() {
			sources = c.SNAT.Source6
		}
		if s.Forward == lb.SNAT && s.VIP.Addr.IsValid() && len(sources) == 0 {
			r.field(top.key("services").item(i).key("forward"), "snat needs an address of the family of VIP %s in snat.addresses", s.VIP)
		}
	}
}

// tableEntries is the size of a pool's table with its configured weights.
func tableEntries(p lb.Pool) int {
	if p.Algorithm == lb.Maglev {
		return int(p.TableSize)
	}
	if p.Algorithm == lb.RoundRobin || p.Algorithm == lb.LeastConn && len(p.Backends) <= table.LeastExact {
		return len(p.Backends)
	}
	weights := make([]lb.EffectiveWeight, len(p.Backends))
	moving := p.Law.Mode != lb.ModeStatic || p.Law.SlowStart > 0
	most := 0
	for i, b := range p.Backends {
		most += int(b.Weight) * int(lb.EffectiveUnit) * lb.MaxFactor
		weights[i] = lb.EffectiveWeight(b.Weight) * lb.EffectiveUnit
	}
	if moving { // the weights' greatest common divisor may become 1
		return min(most, table.MaxSchedule)
	}
	n, err := table.ScheduleLen(weights)
	if err != nil {
		return table.MaxSchedule // more backends than that were reported
	}
	return n
}

// checkBackendsAreNotVIPs reports backends at addresses that weir itself
// serves: their packets would come back to it.
func checkBackendsAreNotVIPs(r *report, c lb.Config) {
	vips := make(map[netip.Addr]lb.VIP, len(c.Services))
	for _, s := range c.Services {
		vips[s.VIP.Addr] = s.VIP
	}
	for i, p := range c.Pools {
		for j, b := range p.Backends {
			if vip, found := vips[b.Addr]; found && b.Addr.IsValid() {
				r.field(top.key("pools").item(i).key("backends").item(j).key("address"),
					"%s is the address of VIP %s; a backend is another host", b.Addr, vip)
			}
		}
	}
}
