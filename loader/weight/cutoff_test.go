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

// An agent's word of how many connections it takes is a limit beside those that
// are configured; the lower one counts.
func TestMaxConn(t *testing.T) {
	counts := func(n float64) map[string]float64 { return map[string]float64{lb.MetricConnections: n} }
	for _, c := range []struct {
		name       string
		configured []lb.Limit
		report     Report
		active     uint64 // flows that were counted here
		cut        bool
	}{
		{"its own count", nil, Report{MaxConn: 100, Values: counts(101)}, 0, true},
		{"its own count comes before ours", nil, Report{MaxConn: 100, Values: counts(50)}, 200, false},
		{"our count", nil, Report{MaxConn: 100}, 101, true},
		{"within", nil, Report{MaxConn: 100}, 100, false},
		{"any number", nil, Report{}, 1 << 20, false},
		{"lower than configured", []lb.Limit{lb.CountLimit(lb.MetricConnections, 500)}, Report{MaxConn: 100, Values: counts(101)}, 0, true},
		{"higher than configured", []lb.Limit{lb.CountLimit(lb.MetricConnections, 100)}, Report{MaxConn: 500, Values: counts(101)}, 0, true},
		{"beside another", []lb.Limit{lb.RatioLimit("cpu", 0.8)}, Report{MaxConn: 100}, 101, true},
	} {
		r := newRig(t, cutoffSettings(), backends(4, c.configured...))
		for range 4 {
			r.pool.Traffic(r.now, endpoint(0), Traffic{Active: c.active})
			r.second(func(i int) (Report, bool) { return c.report, i == 0 })
		}
		if got := r.pool.members[0].isCut(); got != c.cut {
			t.Errorf("%s: cut off is %v, want %v", c.name, got, c.cut)
		}
		if limits := r.pool.members[0].Limits; len(limits) != len(c.configured) {
			t.Errorf("%s: the configured limits became %v", c.name, limits)
		}
	}
}

// Who says no more of connections is held to none.
func TestMaxConnEnds(t *testing.T) {
	r := newRig(t, cutoffSettings(), backends(4))
	say := func(maxConn float64) {
		r.pool.Traffic(r.now, endpoint(0), Traffic{Active: 200})
		r.second(func(i int) (Report, bool) { return Report{MaxConn: maxConn}, i == 0 })
	}
	for range 4 {
		say(100)
	}
	if !r.pool.members[0].isCut() {
		t.Fatal("not cut off")
	}
	say(0)
	if r.pool.members[0].isCut() {
		t.Error("cut off without a limit")
	}
}
