package weight

import (
	"testing"
	"time"

	"weir/loader/lb"
)

func TestCutoff(t *testing.T) {
	limits := []lb.Limit{lb.RatioLimit("cpu", 0.8), lb.CountLimit("iops", 1000)}
	type values = map[string]float64
	over, under, between := values{"cpu": 0.9}, values{"cpu": 0.5}, values{"cpu": 0.75}
	for _, c := range []struct {
		name    string
		samples []values
		want    int
	}{
		{"two in a row", []values{over, over}, 0},
		{"three in a row", []values{over, over, over}, 1},
		{"interrupted", []values{over, over, under, over, over}, 0},
		{"at the limit is within", []values{{"cpu": 0.8}, {"cpu": 0.8}, {"cpu": 0.8}}, 0},
		{"a missing value says nothing", []values{over, over, {}, over}, 1},
		{"the other limit", []values{{"iops": 1001}, {"iops": 1001}, {"iops": 2000}}, 2},
		{"held at first", []values{over, over, over, under}, 1},
		{"between", []values{over, over, over, between, between, between}, 1},
	} {
		var state cutoff
		now := time.Unix(0, 0)
		for _, v := range c.samples {
			now = now.Add(time.Second)
			state.sample(now, limits, v)
		}
		if state.tripped != c.want {
			t.Errorf("%s: tripped %d, want %d", c.name, state.tripped, c.want)
		}
	}
}

func TestCutoffHoldsLongerEachTime(t *testing.T) {
	limits := []lb.Limit{lb.RatioLimit("cpu", 0.8)}
	var state cutoff
	now := time.Unix(0, 0)
	at := func(v float64, seconds int) {
		for range seconds {
			now = now.Add(time.Second)
			state.sample(now, limits, map[string]float64{"cpu": v})
		}
	}
	for _, hold := range []int{20, 40, 80} {
		at(0.9, 3)
		at(0.7, hold-1)
		if state.tripped == 0 {
			t.Fatalf("cleared before %d s", hold)
		}
		at(0.7, 1)
		if state.tripped != 0 {
			t.Fatalf("not cleared after %d s", hold)
		}
	}
	at(0.7, 900)
	at(0.9, 3)
	at(0.7, 20)
	if state.tripped != 0 {
		t.Error("a long time after, it holds as long as if it had tripped just now")
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		got, want lb.Limit
	}{
		{lb.RatioLimit("cpu", 0.8), lb.Limit{Metric: "cpu", Max: 0.8, Clear: 0.7}},
		{lb.RatioLimit("cpu", 0.1), lb.Limit{Metric: "cpu", Max: 0.1, Clear: 0.05}},
		{lb.CountLimit("iops", 1000), lb.Limit{Metric: "iops", Max: 1000, Clear: 900}},
	} {
		if d := c.got.Clear - c.want.Clear; c.got.Max != c.want.Max || d > 1e-9 || d < -1e-9 {
			t.Errorf("%+v, want %+v", c.got, c.want)
		}
		if err := c.got.Check(); err != nil {
			t.Error(err)
		}
	}
}
