package nexthop

import (
	"net/netip"
	"slices"
	"testing"
)

func TestOutdateMarksThePrefixOnly(t *testing.T) {
	t.Parallel()
	all := []netip.Addr{
		mustAddr("10.0.0.1"), mustAddr("10.1.0.1"), mustAddr("10.1.255.255"), mustAddr("10.2.0.0"),
		mustAddr("2001:db8::1"), mustAddr("2001:db8:1::1"),
	}
	for _, c := range []struct {
		prefix   string
		from, to int // range of all that is outdated
	}{
		{"0.0.0.0/0", 0, 4},
		{"::/0", 4, 6},
		{"10.1.0.0/16", 1, 3},
		{"10.1.0.1/32", 1, 2},
		{"10.1.0.2/32", 2, 2},
		{"10.0.0.0/15", 0, 3},
		{"192.0.2.0/24", 4, 4},
		{"2001:db8::/48", 4, 5},
		{"2001:db8::/32", 4, 6},
	} {
		table := routeTable{}
		table.watch(all)
		table.takeOutdated()
		want := all[c.from:c.to]
		if found := table.outdate(netip.MustParsePrefix(c.prefix)); found != (len(want) > 0) {
			t.Errorf("%s: found %t, want %v", c.prefix, found, want)
		}
		got := table.takeOutdated()
		slices.SortFunc(got, netip.Addr.Compare)
		if !slices.Equal(got, want) {
			t.Errorf("%s: outdated %v, want %v", c.prefix, got, want)
		}
	}
}

func TestWatchKeepsWhatIsKnown(t *testing.T) {
	t.Parallel()
	a, b, c := mustAddr("10.0.0.1"), mustAddr("10.0.0.2"), mustAddr("10.0.0.3")
	table := routeTable{}
	table.watch([]netip.Addr{a, b, b})
	known := route{hop: hop{iface: 1, addr: a}}
	table.store(table.takeOutdated(), map[netip.Addr]route{a: known})
	table.watch([]netip.Addr{c, a})
	if got := table.entries[a].route; got != known {
		t.Errorf("route of %s is %+v, want %+v", a, got, known)
	}
	got := table.takeOutdated()
	if !slices.Equal(got, []netip.Addr{c}) {
		t.Errorf("to look up: %v, want %s alone", got, c)
	}
	if table.store(got, nil); !slices.Equal(table.takeOutdated(), []netip.Addr{c}) {
		t.Errorf("%s was not found and must be looked up again", c)
	}
}
