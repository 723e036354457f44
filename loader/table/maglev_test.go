package table

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"weir/loader/lb"
)

// pool gives n backends of weight 1 at addresses that differ by seed.
func pool(n int, seed uint64) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{ID: fmt.Sprintf("10.%d.%d.%d:80", seed%256, i/250, i%250+1), Weight: lb.EffectiveUnit}
	}
	return entries
}

func weighted(weights ...lb.EffectiveWeight) []Entry {
	entries := pool(len(weights), 0)
	for i, w := range weights {
		entries[i].Weight = w
	}
	return entries
}

func mustMaglev(t testing.TB, entries []Entry, size uint32, seed uint64) []uint32 {
	t.Helper()
	slots, err := Maglev(entries, size, seed)
	if err != nil {
		t.Fatal(err)
	}
	return slots
}

func counts(slots []uint32, n int) []int {
	c := make([]int, n)
	for _, s := range slots {
		c[s]++
	}
	return c
}

// moved counts the entries that name another backend in b than in a.
func moved(a, b []uint32, in, out []Entry) int {
	n := 0
	for i := range a {
		if in[a[i]].ID != out[b[i]].ID {
			n++
		}
	}
	return n
}

func TestMaglevSpreadsEvenly(t *testing.T) {
	for seed := range uint64(5) {
		c := counts(mustMaglev(t, pool(100, seed), usualSize, seed), 100)
		if spread := float64(slices.Max(c)) * 100 / usualSize; spread > 1.01 {
			t.Errorf("seed %d: max/mean %.4f, want at most 1.01", seed, spread)
		}
	}
}

func TestMaglevFollowsWeights(t *testing.T) {
	for _, weights := range [][]lb.EffectiveWeight{
		{1, 2, 4}, {64, 128, 256}, {64000, 64, 1}, {1, 1, 0, 5}, {math.MaxUint32, math.MaxUint32, 1 << 30},
	} {
		var sum float64
		for _, w := range weights {
			sum += float64(w)
		}
		c := counts(mustMaglev(t, weighted(weights...), usualSize, 7), len(weights))
		for slot, w := range weights {
			share, want := float64(c[slot])/usualSize, float64(w)/sum
			if math.Abs(share-want) > 0.0001 || w == 0 && c[slot] != 0 {
				t.Errorf("weights %v: slot %d has share %.5f, want %.5f", weights, slot, share, want)
			}
		}
	}
}

func TestMaglevRemovalMovesLittleElse(t *testing.T) {
	var sum, worst float64
	const seeds, n = 4, 10
	for seed := range uint64(seeds) {
		entries := pool(n, seed)
		before := mustMaglev(t, entries, usualSize, seed)
		for gone := range entries {
			rest := slices.Delete(slices.Clone(entries), gone, gone+1)
			after := mustMaglev(t, rest, usualSize, seed)
			beyond := moved(before, after, entries, rest) - counts(before, n)[gone]
			share := float64(beyond) / usualSize
			sum, worst = sum+share, max(worst, share)
			if share > 0.004 {
				t.Errorf("seed %d: removing %s moves %.3f %% of the others' entries, want at most 0.4 %%",
					seed, entries[gone].ID, 100*share)
			}
		}
	}
	t.Logf("removing one of %d moves %.3f %% beyond its share on average, %.3f %% at worst", n, 100*sum/(seeds*n), 100*worst)
}

func TestMaglevSmallWeightChangeMovesLittle(t *testing.T) {
	var sum, worst float64
	const seeds, n = 2, 20
	for seed := range uint64(seeds) {
		entries := pool(n, seed)
		before := mustMaglev(t, entries, usualSize, seed)
		for at := range entries {
			changed := slices.Clone(entries)
			changed[at].Weight = lb.EffectiveUnit * 95 / 100
			share := float64(moved(before, mustMaglev(t, changed, usualSize, seed), entries, changed)) / usualSize
			sum, worst = sum+share, max(worst, share)
		}
	}
	t.Logf("5 %% less weight for one of %d moves %.3f %% on average, %.3f %% at worst", n, 100*sum/(seeds*n), 100*worst)
	// 60 instead of 64: a share of 0.30 % less is the least that can move.
	if worst > 0.006 {
		t.Errorf("5 %% less weight for one of %d backends moves %.3f %%, want at most 0.6 %%", n, 100*worst)
	}
}

func TestMaglevIgnoresOrder(t *testing.T) {
	entries := weighted(64, 128, 0, 64, 320, 1, 64)
	before := mustMaglev(t, entries, 4099, 3)
	r := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		mixed := slices.Clone(entries)
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		if n := moved(before, mustMaglev(t, mixed, 4099, 3), entries, mixed); n != 0 {
			t.Errorf("order %v moves %d entries", mixed, n)
		}
	}
}

// The table is agreed between nodes of different versions: a change here moves
// every flow that is not in a flow table.
func TestMaglevIsStable(t *testing.T) {
	got := mustMaglev(t, weighted(64, 128, 64), 13, 42)
	if want := []uint32{0, 0, 1, 1, 0, 1, 2, 2, 1, 2, 1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("table %v, want %v", got, want)
	}
	other := mustMaglev(t, weighted(64, 128, 64), 13, 43)
	if slices.Equal(got, other) {
		t.Error("the seed does not matter")
	}
}

func TestMaglevEdges(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries []Entry
		size    uint32
		want    []uint32
		err     string
	}{
		{"nothing", nil, 7, nil, ""},
		{"no weight", weighted(0, 0), 7, nil, ""},
		{"one", weighted(0, 5), 3, []uint32{1, 1, 1}, ""},
		{"smallest", weighted(9), 2, []uint32{0, 0}, ""},
		{"zero size", weighted(1), 0, nil, "build Maglev table: table size 0 is not a prime"},
		{"one entry", weighted(1), 1, nil, "build Maglev table: table size 1 is not a prime"},
		{"composite", weighted(1), 65536, nil, "build Maglev table: table size 65536 is not a prime"},
		{"square", weighted(1), 49, nil, "build Maglev table: table size 49 is not a prime"},
		{"too large", weighted(1), 16777259, nil, "build Maglev table: table size 16777259 is over 16777215"},
		{"too small", weighted(1, 1, 1, 1), 3, nil, "build Maglev table: table size 3 is less than its 4 backends"},
		{"twice", []Entry{{"a", 1}, {"b", 1}, {"a", 2}}, 7, nil, `build Maglev table: backend "a" is listed twice`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Maglev(c.entries, c.size, 0)
			if message := errorText(err); message != c.err {
				t.Fatalf("error %q, want %q", message, c.err)
			}
			if !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
				t.Errorf("table %v, want %v", got, c.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestMaglevLarge(t *testing.T) {
	c := counts(mustMaglev(t, pool(3, 0), 1048573, 0), 3)
	if slices.Max(c)-slices.Min(c) > 1 {
		t.Errorf("counts %v differ by more than 1", c)
	}
}

func FuzzMaglev(f *testing.F) {
	f.Add([]byte{1, 2, 4}, uint64(0))
	f.Add([]byte{0, 255, 0, 0}, uint64(9))
	f.Fuzz(func(t *testing.T, raw []byte, seed uint64) {
		const size = 1009
		if len(raw) > size {
			return
		}
		ws := make([]lb.EffectiveWeight, len(raw))
		var sum float64
		for i, w := range raw {
			ws[i] = lb.EffectiveWeight(w)
			sum += float64(w)
		}
		slots := mustMaglev(t, weighted(ws...), size, seed)
		if sum == 0 {
			if slots != nil {
				t.Fatalf("no weight and a table of %d", len(slots))
			}
			return
		}
		for slot, n := range counts(slots, len(ws)) {
			if ws[slot] == 0 && n != 0 {
				t.Errorf("slot %d has weight 0 and %d entries", slot, n)
			}
			// Each backend is within one entry of its rate; their sum
			// fixes the time at which the table is full within one turn.
			if want := size * float64(ws[slot]) / sum; math.Abs(float64(n)-want) > 2+want*float64(len(ws))/size {
				t.Errorf("slot %d of %v has %d entries, want about %.1f", slot, raw, n, want)
			}
		}
	})
}

func BenchmarkMaglev(b *testing.B) {
	entries := pool(100, 0)
	for b.Loop() {
		mustMaglev(b, entries, usualSize, 1)
	}
}
