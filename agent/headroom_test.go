package agent

import "testing"

func TestHeadroom(t *testing.T) {
	var h headroom
	for i, c := range []struct {
		values map[string]float64
		want   int
	}{
		{map[string]float64{"cpu": 0.5}, 50},
		{map[string]float64{"cpu": 0.46}, 50},                // within a step of the last
		{map[string]float64{"cpu": 0.44}, 55},                // over it
		{map[string]float64{"cpu": 0.44, "memory": 0.9}, 10}, // the scarcest counts
		{map[string]float64{"cpu": 0.44, "swap": 1}, 55},     // not one of them
		{map[string]float64{"cpu": 1}, 5},                    // busy is not drained
		{map[string]float64{"cpu": 0.999}, 5},
		{nil, 100},
		{map[string]float64{"cpu": 0}, 100},
	} {
		if got := h.percent(c.values, []string{"cpu", "memory"}); got != c.want {
			t.Errorf("step %d: %v is %d %%, want %d", i, c.values, got, c.want)
		}
	}
	var none headroom
	if got := none.percent(map[string]float64{"cpu": 1}, nil); got != 100 {
		t.Errorf("by no metric %d", got)
	}
}
