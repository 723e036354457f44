package demo

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"weir/loader/lb"
)

func parse(t *testing.T, args string) (options, error) {
	t.Helper()
	var f flags
	fs := pflag.NewFlagSet("demo", pflag.ContinueOnError)
	f.register(fs)
	if err := fs.Parse(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	return f.options(fs.Changed)
}

func TestOptions(t *testing.T) {
	usual := options{duration: 15 * time.Second, weights: []lb.Weight{3, 2, 1}, algorithm: lb.Maglev,
		algorithmName: "maglev", forward: lb.NAT, family: 4}
	with := func(change func(*options)) options { o := usual; change(&o); return o }
	for args, want := range map[string]options{
		"":                           usual,
		"--duration 10s":             with(func(o *options) { o.duration = 10 * time.Second }),
		"--weights 5,1":              with(func(o *options) { o.weights = []lb.Weight{5, 1} }),
		"--weights 5,0 --backends 2": with(func(o *options) { o.weights = []lb.Weight{5, 0} }),
		"--backends 5":               with(func(o *options) { o.weights = []lb.Weight{3, 2, 1, 3, 2} }),
		"--algorithm rr":             with(func(o *options) { o.algorithm, o.algorithmName = lb.RoundRobin, "rr" }),
		"--forward dsr --family 6":   with(func(o *options) { o.forward, o.family = lb.DSR, 6 }),
		"--l7":                       with(func(o *options) { o.l7 = true }),
		"--algorithm random":         with(func(o *options) { o.algorithm, o.algorithmName = lb.Random, "random" }),
		"--algorithm resource_based": with(func(o *options) {
			o.algorithmName, o.weights, o.duration = resourceBased, []lb.Weight{1, 1, 1}, 80*time.Second
		}),
		"--algorithm resource_based --duration 9s --weights 5,1": with(func(o *options) {
			o.algorithmName, o.weights, o.duration = resourceBased, []lb.Weight{5, 1}, 9*time.Second
		}),
		"--forward gue":                    with(func(o *options) { o.forward = lb.GUE }),
		"--hold --json --algorithm maglev": with(func(o *options) { o.hold, o.json = true, true }),
	} {
		got, err := parse(t, args)
		if err != nil || !equalOptions(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", args, got, err, want)
		}
	}
}

func equalOptions(a, b options) bool {
	same := slices.Equal(a.weights, b.weights)
	a.weights, b.weights = nil, nil
	return same && a.duration == b.duration && a.algorithm == b.algorithm && a.algorithmName == b.algorithmName &&
		a.forward == b.forward && a.family == b.family && a.l7 == b.l7 && a.hold == b.hold && a.json == b.json
}

func TestOptionsRefused(t *testing.T) {
	for args, want := range map[string]string{
		"--l7 --forward dsr":           "--forward has no part in that",
		"--backends 2 --weights 3,2,1": "3 weights for 2 backends",
		"--backends 0":                 "0 is not 1 to 200",
		"--backends 201":               "201 is not 1 to 200",
		"--weights 1001":               "1001 is more than 1000",
		"--weights 0,0":                "no backend has a weight above 0",
		"--algorithm fastest":          `"fastest"`,
		"--forward l7":                 `"l7" is not nat, snat, dsr, ipip or gue`,
		"--forward x":                  `"x" is not nat, snat, dsr, ipip or gue`,
		"--family 5":                   "5 is not 4 or 6",
		"--duration 0s":                "0s is not more than 0",
	} {
		if _, err := parse(t, args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want an error with %q", args, err, want)
		}
	}
}

func TestExpectedShares(t *testing.T) {
	for _, c := range []struct {
		algorithm lb.Algorithm
		weights   []lb.Weight
		want      []float64
	}{
		{lb.Maglev, []lb.Weight{3, 2, 1}, []float64{3. / 6, 2. / 6, 1. / 6}},
		{lb.WeightedRoundRobin, []lb.Weight{4, 0}, []float64{1, 0}},
		{lb.RoundRobin, []lb.Weight{3, 2, 1}, []float64{1. / 3, 1. / 3, 1. / 3}},
		{lb.RoundRobin, []lb.Weight{3, 0, 1}, []float64{1. / 2, 0, 1. / 2}},
	} {
		for i, got := range expectedShares(c.algorithm, c.weights) {
			if math.Abs(got-c.want[i]) > 1e-9 {
				t.Errorf("%s %v: share %d is %v, want %v", c.algorithm, c.weights, i, got, c.want[i])
			}
		}
	}
}
