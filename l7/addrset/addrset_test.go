package addrset

import (
	"net/netip"
	"testing"
)

func TestSet(t *testing.T) {
	var prefixes []netip.Prefix
	for _, text := range []string{"10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "255.255.255.0/24", "2001:db8::/32", "::1/128"} {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	s := New(prefixes)
	for text, want := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "10.1.2.3": true, "11.0.0.0": false, "9.255.255.255": false,
		"192.0.2.7": true, "192.0.2.6": false, "192.0.2.8": false, "255.255.255.255": true,
		"2001:db8::": true, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff": true, "2001:db9::": false, "::1": true, "::": false,
		"::ffff:10.1.2.3": true, "::ffff:11.1.2.3": false, "2001:db8::1%eth0": true,
	} {
		if got := s.Has(netip.MustParseAddr(text)); got != want {
			t.Errorf("has %s: %v", text, got)
		}
	}
	if (Set{}).Has(netip.MustParseAddr("10.0.0.1")) || s.Has(netip.Addr{}) || !(Set{}).Empty() || s.Empty() {
		t.Error("an empty set or no address")
	}
	all := New([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")})
	if !all.Has(netip.MustParseAddr("255.255.255.255")) || all.Has(netip.MustParseAddr("::1")) {
		t.Error("all of IPv4")
	}
}
