package decap_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"weir/bpf/decap"
)

// lab is the loaded program, with its sets filled.
type lab struct {
	decap.DecapObjects
	reasons []string // by number
}

type verdict uint32

// enum xdp_action of linux/bpf.h.
const (
	drop verdict = 1
	pass verdict = 2
)

func newLab(t testing.TB) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loading programs needs root")
	}
	spec, err := decap.LoadDecap()
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Variables[decap.DecapVarGuePort].Set([]byte{port >> 8, port & 0xff}); err != nil {
		t.Fatal(err)
	}
	l := new(lab)
	if err := spec.LoadAndAssign(&l.DecapObjects, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var enum *btf.Enum
	if err := spec.Types.TypeByName("reason", &enum); err != nil {
		t.Fatal(err)
	}
	for _, v := range enum.Values[:decap.DecapReasonREASONS] {
		l.reasons = append(l.reasons, v.Name)
	}
	l.put(t, l.TunnelAddresses, local4, local6)
	l.put(t, l.Vips, vip4, vip6)
	return l
}

func (l *lab) put(t testing.TB, set *ebpf.Map, addrs ...netip.Addr) {
	t.Helper()
	for _, a := range addrs {
		if err := set.Put(a.As16(), uint8(1)); err != nil {
			t.Fatal(err)
		}
	}
}

// run runs the program once and names the counter that moved.
func (l *lab) run(t testing.TB, in []byte) (verdict, []byte, string) {
	t.Helper()
	before := l.counts(t)
	v, out, err := l.Decap.Test(slices.Clone(in))
	if err != nil {
		t.Fatalf("running the program on %d bytes: %v", len(in), err)
	}
	moved := ""
	for i, n := range l.counts(t) {
		if n != before[i] {
			if moved != "" || n != before[i]+1 {
				t.Errorf("more than one count: %s, %s", moved, l.reasons[i])
			}
			moved = l.reasons[i]
		}
	}
	return verdict(v), out, moved
}

func (l *lab) counts(t testing.TB) []uint64 {
	t.Helper()
	sums := make([]uint64, len(l.reasons))
	for i := range sums {
		var perCPU []uint64
		if err := l.Reasons.Lookup(uint32(i), &perCPU); err != nil {
			t.Fatal(err)
		}
		for _, n := range perCPU {
			sums[i] += n
		}
	}
	return sums
}

// expect runs the program and compares all that it did.
func (l *lab) expect(t *testing.T, in []byte, want verdict, out []byte, reason string) {
	t.Helper()
	v, got, moved := l.run(t, in)
	if v != want || moved != reason {
		t.Errorf("verdict %d by %s, want %d by %s", v, moved, want, reason)
	}
	if !bytes.Equal(got, out) {
		t.Errorf("frame\n%swant\n%s", hex.Dump(got), hex.Dump(out))
	}
}

func be16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }
