package table

import (
	"fmt"
	"math"
	"testing"

	"weir/loader/lb"
)

func backendsOf(weights ...lb.Weight) []lb.Backend {
	all := make([]lb.Backend, len(weights))
	for i, w := range weights {
		all[i].Weight = w
	}
	return all
}

func equalBackends(n int) []lb.Backend {
	all := make([]lb.Backend, n)
	for i := range all {
		all[i].Weight = 1
	}
	return all
}

func TestSizeFor(t *testing.T) {
	for _, c := range []struct {
		name string
		pool []lb.Backend
		want uint32
	}{
		{"one", backendsOf(1), 1021},
		{"ten", equalBackends(10), 1021},
		{"eleven", equalBackends(11), 2039},
		{"weights of one size", backendsOf(1000, 1000, 1000), 1021},
		{"1 to 101", backendsOf(1, 101), 1021},
		{"1 to 102", backendsOf(1, 102), 2039},
		{"light, beyond the usual size", backendsOf(1, 1000, 1000, 1000, 1000, 1000, 1000, 1000), 65537},
		{"drained counts as a backend", append(equalBackends(10), backendsOf(0)...), 2039},
		{"all drained", backendsOf(0, 0), 1021},
		{"usual", equalBackends(655), 65537},
		{"above", equalBackends(656), 131071},
		{"light among many", append(backendsOf(1), equalBackends(999)...), 131071},
		{"largest", equalBackends(1<<16 - 1), 8388593},
	} {
		if got := SizeFor(c.pool); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestSizesArePrimesAndRise(t *testing.T) {
	for i, size := range sizes {
		if err := CheckSize(size); err != nil || i > 0 && size <= sizes[i-1] {
			t.Errorf("size %d after %v: %v", size, sizes[:i], err)
		}
	}
}

// Shares are within one entry of the weights, which is 10 % of the lightest's.
func TestSharesInTablesOfTheirSize(t *testing.T) {
	for _, weights := range [][]lb.Weight{{1}, {1, 1, 1}, {3, 2, 1}, {1, 9}, {1, 1000}, {1, 20, 300}, {7, 7, 7, 7, 7, 7, 7, 7, 7, 1}} {
		backends := backendsOf(weights...)
		size := SizeFor(backends)
		var sum float64
		entries := make([]Entry, len(weights))
		for i, w := range weights {
			sum += float64(w)
			entries[i] = Entry{ID: fmt.Sprintf("10.0.0.%d:80", i), Weight: lb.EffectiveWeight(w) * lb.EffectiveUnit}
		}
		slots, err := Maglev(entries, size, 1)
		if err != nil {
			t.Fatal(err)
		}
		count := make([]float64, len(weights))
		for _, s := range slots {
			count[s]++
		}
		for i, w := range weights {
			want := float64(w) / sum * float64(size)
			if math.Abs(count[i]-want) > 1 || math.Abs(count[i]/want-1) > 0.1 {
				t.Errorf("weights %v, %d entries: backend %d has %g, want %.1f", weights, size, i, count[i], want)
			}
		}
	}
}
