package table

import (
	"math"
	"slices"
	"testing"

	"weir/loader/lb"
)

func TestSmoothWRR(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []lb.EffectiveWeight
		want    []uint32
	}{
		{"nginx's example", []lb.EffectiveWeight{5, 1, 1}, []uint32{0, 0, 1, 0, 2, 0, 0}},
		{"reduced", []lb.EffectiveWeight{128, 64}, []uint32{0, 1, 0}},
		{"equal is plain", []lb.EffectiveWeight{64, 64, 64, 64}, []uint32{0, 1, 2, 3}},
		{"weight 0 is left out", []lb.EffectiveWeight{0, 64, 0, 64}, []uint32{1, 3}},
		{"one", []lb.EffectiveWeight{0, 7}, []uint32{1}},
		{"heavy last", []lb.EffectiveWeight{1, 3}, []uint32{1, 0, 1, 1}},
		{"no weight", []lb.EffectiveWeight{0, 0}, nil},
		{"nothing", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := SmoothWRR(c.weights)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
				t.Errorf("schedule %v, want %v", got, c.want)
			}
		})
	}
}

func TestRoundRobinIgnoresWeights(t *testing.T) {
	if got := RoundRobin([]lb.EffectiveWeight{9, 0, 1, 64}); !slices.Equal(got, []uint32{0, 2, 3}) {
		t.Errorf("schedule %v", got)
	}
	if got := RoundRobin([]lb.EffectiveWeight{0}); got != nil {
		t.Errorf("schedule %v without a weight", got)
	}
}

// reference is nginx's algorithm as it is published, with its cost of the
// number of backends per step.
func reference(weights []uint64, sum uint64) []uint32 {
	gained := make([]int64, len(weights))
	var schedule []uint32
	for range sum {
		most := -1
		for i, w := range weights {
			gained[i] += int64(w)
			if w > 0 && (most < 0 || gained[i] > gained[most]) {
				most = i
			}
		}
		gained[most] -= int64(sum)
		schedule = append(schedule, uint32(most))
	}
	return schedule
}

func FuzzSmoothWRR(f *testing.F) {
	f.Add([]byte{5, 1, 1})
	f.Add([]byte{3, 3, 2, 2, 1, 0})
	f.Add([]byte{255, 254, 253, 1, 1, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 200 {
			return
		}
		ws := make([]lb.EffectiveWeight, len(raw))
		for i, w := range raw {
			ws[i] = lb.EffectiveWeight(w)
		}
		got, err := SmoothWRR(ws)
		if err != nil {
			t.Fatal(err)
		}
		reduced, sum, _ := reduce(ws)
		if want := reference(reduced, sum); !slices.Equal(got, want) {
			t.Errorf("weights %v: schedule %v, nginx's is %v", raw, got, want)
		}
	})
}

// Shares hold in every stretch of a schedule, not only over the whole.
func TestSmoothWRRIsSmooth(t *testing.T) {
	ws := []lb.EffectiveWeight{640, 320, 64, 192, 192, 7}
	slots, err := SmoothWRR(ws)
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]float64, len(ws))
	for i, s := range slots {
		seen[s]++
		for slot, w := range ws {
			if want := float64(i+1) * float64(w) / float64(len(slots)); math.Abs(seen[slot]-want) > 1.5 {
				t.Fatalf("after %d steps slot %d was chosen %.0f times, want about %.1f", i+1, slot, seen[slot], want)
			}
		}
	}
}

func TestSmoothWRRIsBounded(t *testing.T) {
	many := make([]lb.EffectiveWeight, 1000)
	var sum float64
	for i := range many {
		many[i] = lb.EffectiveWeight(64*(i%1000) + i%7 + 1)
		sum += float64(many[i])
	}
	slots, err := SmoothWRR(many)
	if err != nil {
		t.Fatal(err)
	}
	if len(slots) > MaxSchedule || len(slots) < MaxSchedule*9/10 {
		t.Fatalf("schedule has %d steps, want just under %d", len(slots), MaxSchedule)
	}
	if n, err := ScheduleLen(many); err != nil || n != len(slots) {
		t.Errorf("ScheduleLen %d (%v), schedule %d", n, err, len(slots))
	}
	for slot, n := range counts(slots, len(many)) {
		want := float64(many[slot]) / sum * float64(len(slots))
		if n == 0 || math.Abs(float64(n)-want) > 1.1 {
			t.Errorf("slot %d has %d steps, want about %.2f", slot, n, want)
		}
	}
}

func TestSmoothWRRExtremes(t *testing.T) {
	full := make([]lb.EffectiveWeight, MaxSchedule+1)
	for i := range full {
		full[i] = lb.EffectiveWeight(1 + i%64000)
	}
	if slots, err := SmoothWRR(full[:MaxSchedule]); err != nil || len(slots) != MaxSchedule {
		t.Errorf("%d backends: %d steps, error %v", MaxSchedule, len(slots), err)
	}
	if _, err := SmoothWRR(full); err == nil {
		t.Errorf("%d backends with a weight are accepted", len(full))
	}
	slots, err := SmoothWRR([]lb.EffectiveWeight{math.MaxUint32, 1})
	if err != nil || len(slots) > MaxSchedule || counts(slots, 2)[1] != 1 {
		t.Errorf("extreme weights: %d steps, error %v", len(slots), err)
	}
}

// 361 distinct weights are the most that fit in the longest schedule.
func BenchmarkSmoothWRRWorst(b *testing.B) {
	ws := make([]lb.EffectiveWeight, 361)
	for i := range ws {
		ws[i] = lb.EffectiveWeight(i + 1)
	}
	for b.Loop() {
		if _, err := SmoothWRR(ws); err != nil {
			b.Fatal(err)
		}
	}
}
