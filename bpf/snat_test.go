package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

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

// pairWords reads snat's table, a word for each source.
func (l *lab) pairWords(t testing.TB) []uint64 {
	t.Helper()
	table := make([]byte, l.pairs.Size())
	if _, err := l.pairs.ReadAt(table, 0); err != nil {
		t.Fatal(err)
	}
	words := make([]uint64, len(table)/8)
	for i := range words {
		words[i] = binary.NativeEndian.Uint64(table[8*i:])
	}
	return words
}

func (l *lab) setPairWords(t testing.TB, words []uint64) {
	t.Helper()
	var table []byte
	for _, w := range words {
		table = binary.NativeEndian.AppendUint64(table, w)
	}
	if _, err := l.pairs.WriteAt(table, 0); err != nil {
		t.Fatal(err)
	}
}

// flowClock is the time in flow words now.
func flowClock(t testing.TB) uint64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &now); err != nil {
		t.Fatal(err)
	}
	return uint64(now.Nano()) >> 32 & (1<<11 - 1)
}
