package dataplane

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// checkArena finds regions that overlap, gaps that touch, and words that are
// neither.
func checkArena(t *testing.T, a *arena) {
	t.Helper()
	all := slices.Clone(a.gaps)
	for at := range a.refs {
		all = append(all, extent{at, a.size(at)})
	}
	slices.SortFunc(all, func(x, y extent) int { return int(x.at) - int(y.at) })
	end, gap := uint32(0), false
	for _, e := range all {
		isGap := slices.Contains(a.gaps, e)
		if e.at != end || e.size == 0 || gap && isGap {
			t.Fatalf("extent %+v (gap: %v) follows offset %d (gap: %v)", e, isGap, end, gap)
		}
		end, gap = e.end(), isGap
	}
	if end != uint32(len(a.words)) {
		t.Fatalf("extents end at %d of %d", end, len(a.words))
	}
}

func TestArenaKeepsRegionsApart(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	words := make([]uint32, 4096)
	a := newArena(words, nil)
	held := map[uint32][]uint32{} // content by offset
	refs := []uint32{}            // one for each reference but that of region 0
	for range 20_000 {
		switch random.IntN(3) {
		case 0:
			entries := make([]uint32, random.IntN(100))
			for i := range entries {
				entries[i] = random.Uint32()
			}
			if at, err := a.place(uint32(len(entries)), entries); err == nil {
				held[at], refs = entries, append(refs, at)
			} else if slices.ContainsFunc(a.gaps, func(g extent) bool { return int(g.size) > len(entries) }) {
				t.Fatalf("%v, but there is a gap", err)
			}
		case 1:
			if len(refs) > 0 {
				at := refs[random.IntN(len(refs))]
				a.hold(at)
				refs = append(refs, at)
			}
		case 2:
			if len(refs) > 0 {
				i := random.IntN(len(refs))
				a.release(refs[i])
				refs = slices.Delete(refs, i, i+1)
			}
		}
		checkArena(t, a)
	}
	for _, at := range refs {
		if !slices.Equal(a.region(at), held[at]) {
			t.Errorf("region %d was overwritten", at)
		}
	}
	again := newArena(words, refs)
	if !slices.Equal(again.gaps, a.gaps) || len(again.refs) != len(a.refs) {
		t.Errorf("adopted, the arena has gaps %v, had %v", again.gaps, a.gaps)
	}
	for _, at := range refs {
		again.release(at)
	}
	if want := []extent{{1, 4095}}; !slices.Equal(again.gaps, want) {
		t.Errorf("gaps %v when all is released, want %v", again.gaps, want)
	}
}
