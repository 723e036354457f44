// Package addrset holds sets of addresses.
package addrset

import (
	"net/netip"
	"slices"
)

// Set is a set of addresses that does not change. The zero value is empty.
type Set struct{ ranges []span } // sorted, apart from each other

type span struct{ first, last netip.Addr }

// New is the set of all addresses in any of the prefixes.
func New(prefixes []netip.Prefix) Set {
	all := make([]span, 0, len(prefixes))
	for _, p := range prefixes {
		all = append(all, span{p.Masked().Addr(), last(p)})
	}
	slices.SortFunc(all, func(a, b span) int { return a.first.Compare(b.first) })
	kept := all[:0]
	for _, s := range all {
		if n := len(kept); n > 0 && s.first.BitLen() == kept[n-1].last.BitLen() && s.first.Compare(kept[n-1].last) <= 0 {
			if s.last.Compare(kept[n-1].last) > 0 {
				kept[n-1].last = s.last
			}
			continue
		}
		kept = append(kept, s)
	}
	return Set{kept}
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Empty reports whether there is no address in the set.
func (s Set) Empty() bool { return len(s.ranges) == 0 }

// Has reports whether an address is in the set. IPv4 addresses may be mapped
// into IPv6, zones are left aside.
func (s Set) Has(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	i, found := slices.BinarySearchFunc(s.ranges, a, func(r span, a netip.Addr) int { return r.first.Compare(a) })
	if found {
		return true
	}
	return i > 0 && s.ranges[i-1].last.BitLen() == a.BitLen() && a.Compare(s.ranges[i-1].last) <= 0
}
