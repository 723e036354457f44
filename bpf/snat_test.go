package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"weir/loader/lb"
)

// sources are the addresses that snat has in all labs.
var sources = lb.SNATSources{
	Source4: []netip.Addr{netip.MustParseAddr("10.9.1.1"), netip.MustParseAddr("10.9.1.2")},
	Source6: []netip.Addr{netip.MustParseAddr("2001:db8:9:1::1"), netip.MustParseAddr("2001:db8:9:1::2")},
}

// snat is a backend that sees our sources; its port is changed as by nat.
func snat(v lb.VIP, a netip.Addr) target { return target{v, port(a, 8080), lb.SNAT} }

// masked is what f looks like on its way to a backend of snat, of which only
// the source is taken from what the program made. It is nil if that is not one
// of ours.
func (t target) masked(f frame, got []byte) []byte {
	pair, ok := sourceOf(f, got)
	if !ok || pair.Port() < 1024 || !slices.Contains(slices.Concat(sources.Source4, sources.Source6), pair.Addr()) {
		return nil
	}
	return t.through(f).source(pair).bytes()
}

// sourceOf reads the source of what came of f.
func sourceOf(f frame, got []byte) (netip.AddrPort, bool) {
	src, _, ok := addresses(got)
	at := len(f.bytes()) - len(f.padding) - len(f.transport())
	if !ok || len(got) < at+2 {
		return netip.AddrPort{}, false
	}
	return port(src, binary.BigEndian.Uint16(got[at:])), true
}
