package nexthop

import (
	"maps"
	"net/netip"
	"slices"
)

// hop is a neighbour: an address on an interface.
type hop struct {
	iface int // interface index
	addr  netip.Addr
}

// route is what the kernel says about one address: the neighbour that frames
// go to, or the reason why there is none.
type route struct {
	hop    hop
	mtu    int // bytes; 0 if the route has none of its own
	reason string
}

type routeEntry struct {
	route   route
	current bool // no event since it was looked up
}

// routeTable remembers the routes of the watched addresses.
type routeTable struct {
	entries map[netip.Addr]*routeEntry
	sorted  []netip.Addr // the keys in order, so that a prefix is one range
}

// watch makes the table hold these addresses.
func (t *routeTable) watch(addrs []netip.Addr) {
	if t.watches(addrs) {
		return
	}
	next := make(map[netip.Addr]*routeEntry, len(addrs))
	for _, a := range addrs {
		if e, ok := t.entries[a]; ok {
			next[a] = e
		} else if next[a] == nil {
			next[a] = &routeEntry{route: route{reason: "route not looked up yet"}}
		}
	}
	t.entries = next
	t.sorted = slices.SortedFunc(maps.Keys(next), netip.Addr.Compare)
}

// watches reports whether the table holds just these addresses, which have no
// duplicates as a rule. It is asked far more often than they change.
func (t *routeTable) watches(addrs []netip.Addr) bool {
	if len(addrs) != len(t.entries) {
		return false
	}
	for _, a := range addrs {
		if _, ok := t.entries[a]; !ok {
			return false
		}
	}
	return true
}

// takeOutdated returns the addresses to look up and counts them as current,
// unless an event outdates them again.
func (t *routeTable) takeOutdated() []netip.Addr {
	var out []netip.Addr
	for a, e := range t.entries {
		if !e.current {
			e.current = true
			out = append(out, a)
		}
	}
	return out
}

// store keeps what was found for the addresses that takeOutdated gave out;
// those that found lacks are outdated again.
func (t *routeTable) store(asked []netip.Addr, found map[netip.Addr]route) {
	for _, a := range asked {
		e := t.entries[a]
		if rt, ok := found[a]; ok {
			e.route = rt
		} else {
			e.current = false
		}
	}
}

// hops returns the neighbours that the routes lead to.
func (t *routeTable) hops() map[hop]struct{} {
	out := map[hop]struct{}{}
	for _, e := range t.entries {
		if e.route.reason == "" {
			out[e.route.hop] = struct{}{}
		}
	}
	return out
}

// outdate marks the addresses inside a prefix and reports whether there are
// any.
func (t *routeTable) outdate(p netip.Prefix) bool {
	from, _ := slices.BinarySearchFunc(t.sorted, p.Masked().Addr(), netip.Addr.Compare)
	found := false
	for _, a := range t.sorted[from:] {
		if !p.Contains(a) {
			break
		}
		t.entries[a].current, found = false, true
	}
	return found
}

// outdateIface marks the addresses behind an interface and reports whether
// there are any.
func (t *routeTable) outdateIface(index int) bool {
	found := false
	for _, e := range t.entries {
		if e.route.hop.iface == index {
			e.current, found = false, true
		}
	}
	return found
}

// outdateAll marks every address and reports whether there are any.
func (t *routeTable) outdateAll() bool {
	for _, e := range t.entries {
		e.current = false
	}
	return len(t.entries) > 0
}

// leaveBy reports whether any route goes out by an interface.
func (t *routeTable) leaveBy(index int) bool {
	for _, e := range t.entries {
		if e.route.hop.iface == index {
			return true
		}
	}
	return false
}
