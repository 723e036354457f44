package nexthop

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// BenchmarkResolve answers for 100,000 addresses behind one gateway: with
// every route unknown, and with nothing changed since.
func BenchmarkResolve(b *testing.B) {
	l, _ := pair(b)
	l.route("10.64.0.0/10", "10.7.0.2", "")
	r := l.resolver()
	addrs := make([]netip.Addr, 100_000)
	for i := range addrs {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 10<<24|64<<16|uint32(i))
		addrs[i] = netip.AddrFrom4(a)
	}
	await(b, r, "gateway", resolved, addrs[0])
	run := func(prepare func()) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				prepare()
				if _, err := r.Resolve(addrs); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("routes unknown", run(r.lost))
	b.Run("nothing changed", run(func() {}))
}
