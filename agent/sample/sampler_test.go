package sample

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type fake struct {
	name    string
	collect func(context.Context, time.Time) (map[string]float64, error)
}

func (f fake) Name() string { return f.name }

func (f fake) Collect(ctx context.Context, now time.Time) (map[string]float64, error) {
	return f.collect(ctx, now)
}

func constant(name string, v float64) Source {
	return Source{Collector: fake{name, func(context.Context, time.Time) (map[string]float64, error) {
		return map[string]float64{name: v}, nil
	}}}
}

// during runs a sampler in virtual time and looks at it after a while.
func during(t *testing.T, o Options, sources []Source, look func(*Sampler)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := New(o, sources...)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.Run(ctx); close(ended) }()
		look(s)
		stop()
		<-ended
	})
}

func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var fast = Options{Interval: time.Second, Tau: 5 * time.Second}

func TestSmoothing(t *testing.T) {
	start := time.Time{}
	step := Source{Collector: fake{"step", func(_ context.Context, now time.Time) (map[string]float64, error) {
		if start.IsZero() {
			start = now
		}
		v := 0.0
		if now.Sub(start) >= time.Second {
			v = 1
		}
		return map[string]float64{"custom.step": v}, nil
	}}}
	during(t, fast, []Source{step}, func(s *Sampler) {
		settle(5*time.Second + time.Millisecond)
		// Five seconds after the step was first seen, one time constant has passed.
		got := s.Now(time.Now()).By["custom.step"]
		if want := 1 - math.Exp(-1); math.Abs(got-want) > 0.01 {
			t.Errorf("after one time constant %v, want %v", got, want)
		}
	})
}

func TestSmoothDoesNotDependOnThePace(t *testing.T) {
	old, to := map[string]float64{"a": 0}, map[string]float64{"a": 1, "b": 7}
	once := smooth(old, to, 4*time.Second, 5*time.Second)
	many := old
	for range 40 {
		many = smooth(many, to, 100*time.Millisecond, 5*time.Second)
	}
	if math.Abs(once["a"]-many["a"]) > 1e-9 || once["b"] != 7 {
		t.Errorf("in one step %v, in forty %v", once, many)
	}
	if gone := smooth(to, map[string]float64{"a": 1}, time.Second, time.Second); len(gone) != 1 {
		t.Errorf("a metric that has gone stays: %v", gone)
	}
}

// TestHung has a collector that ignores its context.
func TestHung(t *testing.T) {
	calls := 0
	hung := Source{Collector: fake{"disk", func(context.Context, time.Time) (map[string]float64, error) {
		if calls++; calls == 3 {
			time.Sleep(4 * time.Second)
		}
		return map[string]float64{"iops": 5}, nil
	}}}
	during(t, fast, []Source{constant("cpu", 0.5), hung}, func(s *Sampler) {
		settle(2500 * time.Millisecond) // hangs since second 2; its last sample is of second 1
		v := s.Now(time.Now())
		if v.By["cpu"] != 0.5 || v.By["iops"] != 5 || v.Age != 1500*time.Millisecond {
			t.Errorf("while it hangs: %+v", v)
		}
		settle(3 * time.Second)
		v = s.Now(time.Now())
		if _, there := v.By["iops"]; there || v.By["cpu"] != 0.5 || v.Age != 500*time.Millisecond {
			t.Errorf("when its values are stale: %+v", v)
		}
		if want := map[string]string{"disk": "no answer for 3s"}; !maps.Equal(v.Missing, want) {
			t.Errorf("missing %v, want %v", v.Missing, want)
		}
		settle(time.Second) // it answered at second 6
		if v = s.Now(time.Now()); v.By["iops"] != 5 || len(v.Missing) != 0 {
			t.Errorf("after it answered: %+v", v)
		}
	})
}

func TestFailures(t *testing.T) {
	broken := errors.New("no\nluck")
	failing := Source{Collector: fake{"a", func(context.Context, time.Time) (map[string]float64, error) { return nil, broken }}}
	lying := constant("cpu", math.NaN())
	huge := constant("memory", 1.5)
	slow := Source{Collector: fake{"slow", func(ctx context.Context, _ time.Time) (map[string]float64, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}}
	during(t, fast, []Source{failing, lying, huge, slow, constant("load", 2)}, func(s *Sampler) {
		if v := s.Now(time.Now()); len(v.By) != 0 || len(v.Missing) != 5 {
			t.Errorf("before the first sample: %+v", v)
		}
		settle(3500 * time.Millisecond)
		v := s.Now(time.Now())
		if len(v.By) != 1 || v.By["load"] != 2 {
			t.Errorf("values %v", v.By)
		}
		for name, want := range map[string]string{
			"a": "no?luck", "cpu": "cpu is NaN", "memory": "memory is 1.5, the most is 1", "slow": "deadline exceeded",
		} {
			if !strings.Contains(v.Missing[name], want) {
				t.Errorf("%s is missing because %q, want %q", name, v.Missing[name], want)
			}
		}
	})
}

// TestOwnInterval has a collector that is asked every ten seconds: its values
// are not old while it is not due.
func TestOwnInterval(t *testing.T) {
	var asked []time.Time
	rare := Source{Every: 10 * time.Second, Collector: fake{"rare", func(_ context.Context, now time.Time) (map[string]float64, error) {
		asked = append(asked, now)
		return map[string]float64{"custom.rare": 1}, nil
	}}}
	during(t, fast, []Source{rare, constant("cpu", 1)}, func(s *Sampler) {
		settle(29500 * time.Millisecond)
		if v := s.Now(time.Now()); len(v.By) != 2 || v.Age != 500*time.Millisecond {
			t.Errorf("after 29.5 s: %+v", v)
		}
	})
	if len(asked) != 3 || !slices.IsSortedFunc(asked, time.Time.Compare) || asked[2].Sub(asked[0]) != 20*time.Second {
		t.Errorf("asked at %v, want every ten seconds", asked)
	}
}
