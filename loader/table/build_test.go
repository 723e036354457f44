package table

import (
	"slices"
	"testing"

	"weir/loader/lb"
)

func TestBuildChooses(t *testing.T) {
	entries := weighted(128, 64, 0)
	for _, c := range []struct {
		algorithm lb.Algorithm
		want      []int // occurrences by slot
	}{
		{lb.RoundRobin, []int{1, 1, 0}},
		{lb.WeightedRoundRobin, []int{2, 1, 0}},
		{lb.Maglev, []int{4, 3, 0}},
	} {
		got, err := Build(c.algorithm, entries, 7, 0)
		if err != nil {
			t.Fatal(err)
		}
		if n := counts(got.Slots, 3); got.Algorithm != c.algorithm || n[2] != 0 || n[0] < n[1] || len(got.Slots) != c.want[0]+c.want[1] {
			t.Errorf("%s: %v, want %v", c.algorithm, n, c.want)
		}
		none, err := Build(c.algorithm, weighted(0, 0), 7, 0)
		if err != nil || none.Slots != nil {
			t.Errorf("%s: no weight gives %v (%v)", c.algorithm, none.Slots, err)
		}
	}
	if _, err := Build(0, entries, 7, 0); err == nil {
		t.Error("algorithm 0 is accepted")
	}
	if got, _ := Build(lb.RoundRobin, entries, 0, 0); !slices.Equal(got.Slots, []uint32{0, 1}) {
		t.Errorf("round robin wants a table size: %v", got.Slots)
	}
}
