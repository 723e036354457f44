package table

import (
	"testing"

	"weir/loader/lb"
)

func TestLeastConn(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []lb.EffectiveWeight
		want    []uint32
	}{
		{"none", nil, nil},
		{"all drained", []lb.EffectiveWeight{0, 0}, nil},
		{"once each with its weight", []lb.EffectiveWeight{64, 128}, []uint32{64 << 16, 128<<16 | 1}},
		{"drained left out", []lb.EffectiveWeight{64, 0, 64}, []uint32{64 << 16, 64<<16 | 2}},
		{"weights over 16 bits are scaled", []lb.EffectiveWeight{131070, 65535}, []uint32{65535 << 16, 32767<<16 | 1}},
		{"a small one stays above zero", []lb.EffectiveWeight{1 << 31, 1}, []uint32{65535 << 16, 1<<16 | 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := LeastConn(c.weights)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(c.want) {
				t.Fatalf("got %x, want %x", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("entry %d is %#x, want %#x", i, got[i], c.want[i])
				}
			}
		})
	}
}

func TestLeastConnOfManyFollowsWeights(t *testing.T) {
	weights := make([]lb.EffectiveWeight, LeastExact+8)
	for i := range weights {
		weights[i] = lb.EffectiveUnit * lb.EffectiveWeight(1+i%2)
	}
	entries, err := LeastConn(weights)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[uint32]int{}
	for _, e := range entries {
		slot := e & 0xffff
		counts[slot]++
		if e>>16 != uint32(weights[slot]) {
			t.Errorf("slot %d has weight %d, want %d", slot, e>>16, weights[slot])
		}
	}
	for slot, n := range counts {
		if n != 1+int(slot)%2 {
			t.Errorf("slot %d is there %d times, want %d", slot, n, 1+slot%2)
		}
	}
}

// Random draws by weight from small pools, too.
func TestRandomListsByWeight(t *testing.T) {
	got, err := Random([]lb.EffectiveWeight{64, 0, 128})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[uint32]int{}
	for _, e := range got {
		counts[e]++
	}
	if len(got) != 3 || counts[64<<16] != 1 || counts[128<<16|2] != 2 {
		t.Errorf("entries %x", got)
	}
}
