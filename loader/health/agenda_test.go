package health

import (
	"testing"
	"time"

	"weir/loader/lb"
)

func every(interval time.Duration) lb.Health {
	return lb.Health{Type: lb.HealthTCP, Interval: interval, FastInterval: interval / 4, Timeout: interval / 2,
		Rise: 2, Fall: 3, Jitter: 10}
}

// Ten thousand targets of one interval begin together; their probes do not.
func TestProbesAreSpread(t *testing.T) {
	const targets, step = 10_000, 10 * time.Millisecond
	a, start := newAgenda(1), time.Unix(1000, 0)
	for range targets {
		c := &check{target: Target{Health: every(time.Second)}, machine: machine{state: Up}, index: -1}
		a.first(c, start)
	}
	perStep := targets * int(step) / int(time.Second)
	total := 0
	for at := step; at <= time.Minute; at += step {
		now, begun := start.Add(at), 0
		for c := a.take(now); c != nil; c = a.take(now) {
			a.again(c, c.due, now)
			begun++
		}
		total += begun
		if begun > 2*perStep {
			t.Fatalf("%d probes begin within %s at %s; on average it is %d", begun, step, at, perStep)
		}
	}
	if want := targets * 60; total < want*99/100 || total > want*101/100 {
		t.Errorf("%d probes in a minute, want about %d", total, want)
	}
}

func TestAgenda(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		name        string
		prepare     func(*check)
		took        time.Duration
		least, most time.Duration
	}{
		{"steady", nil, 0, 1900 * time.Millisecond, 2100 * time.Millisecond},
		{"a probe's time is part of the interval", nil, time.Second, 1900 * time.Millisecond, 2100 * time.Millisecond},
		{"late", nil, 5 * time.Second, 5 * time.Second, 5 * time.Second},
		{"in transition", func(c *check) { c.machine.streak = 1 }, 0, 475 * time.Millisecond, 525 * time.Millisecond},
		{"suspected", func(c *check) { c.suspected = true }, 0, 475 * time.Millisecond, 525 * time.Millisecond},
	} {
		a := newAgenda(7)
		for range 100 {
			k := &check{target: Target{Health: every(2 * time.Second)}, machine: machine{state: Up, rise: 2, fall: 3}, index: -1}
			if c.prepare != nil {
				c.prepare(k)
			}
			a.again(k, start, start.Add(c.took))
			if got := k.due.Sub(start); got < c.least || got > c.most {
				t.Errorf("%s: due after %s, want %s to %s", c.name, got, c.least, c.most)
			}
			a.drop(k)
		}
		if _, some := a.next(); some {
			t.Errorf("%s: something is left", c.name)
		}
	}
}
