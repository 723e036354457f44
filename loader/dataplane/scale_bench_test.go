package dataplane

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"weir/loader/lb"
)

// BenchmarkScale takes 10,000 services with 100,000 backends into force and
// then changes weights of single backends. Both are held against a baseline of
// the same run, so that machines and their load can be compared:
//
//   - start, from the file on, against one system call to put each backend into
//     a hash map of the kernel;
//   - a change against the same change where there is one service.
func BenchmarkScale(b *testing.B) {
	large := shape{pools: 10_000, backends: 10, services: 1}
	b.Run("start", func(b *testing.B) {
		var puts, starts time.Duration
		for b.Loop() {
			puts += putEach(b, large.pools*large.backends)
			n := newNode(b, large)
			starts += n.parse + n.open + n.first
			n.close()
		}
		report(b, "start", starts, puts)
	})
	b.Run("change", func(b *testing.B) {
		many, one := newNode(b, large), newNode(b, shape{pools: 1, backends: 10, services: 1})
		var amongMany, alone time.Duration
		i := 0
		for b.Loop() {
			i++
			w := lb.Weight(5 + i%7)
			amongMany += many.change(i, w)
			alone += one.change(i, w)
		}
		report(b, "change", amongMany, alone)
	})
}

func report(b *testing.B, what string, measured, baseline time.Duration) {
	n := float64(b.N)
	b.ReportMetric(0, "ns/op") // both of them together
	b.ReportMetric(measured.Seconds()*1e3/n, "ms/"+what)
	b.ReportMetric(baseline.Seconds()*1e3/n, "ms/baseline")
	b.ReportMetric(measured.Seconds()/baseline.Seconds(), "ratio")
}

// putEach writes n entries into a hash map, one by one.
func putEach(b *testing.B, n int) time.Duration {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 20, ValueSize: 4, MaxEntries: uint32(n)})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	var key [20]byte
	began := time.Now()
	for i := range n {
		binary.NativeEndian.PutUint32(key[:], uint32(i))
		if err := m.Put(key, uint32(i)); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}
