package lab

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"
)

// shorter keeps the test quick; WEIR_LONG=1 runs scenarios in full.
func shorter(sc Scenario, to time.Duration) Scenario {
	if os.Getenv("WEIR_LONG") == "" {
		sc.Duration = sc.Disturbed + to
	}
	return sc
}

func run(t *testing.T, scenario, algorithm string, seconds time.Duration) Result {
	t.Helper()
	sc, err := Find(scenario)
	if err != nil {
		t.Fatal(err)
	}
	a, err := FindAlgorithm(algorithm)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(shorter(sc, seconds*time.Second), a, 1)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What docs/balance.md promises.
func TestResourceBasedSettles(t *testing.T) {
	for _, scenario := range []string{"unequal", "neighbour"} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			r := run(t, scenario, "resource_based", 120)
			if r.MaxOverMean > 1.05 || r.Settling == nil || *r.Settling > 30 || r.Overshoot > 0.1 {
				t.Errorf("max/mean %.3f, settling %v s, overshoot %.2f", r.MaxOverMean, value(r.Settling), r.Overshoot)
			}
			if r.Oscillation > 2 || r.Broken > 0 || r.Largest > 0.1 || r.Requests < 100_000 {
				t.Errorf("%.1f turns a minute, %d flows broken, %.3f of the table at once, %d requests", r.Oscillation, r.Broken, r.Largest, r.Requests)
			}
		})
	}
}

func value(seconds *float64) float64 {
	if seconds == nil {
		return math.Inf(1)
	}
	return *seconds
}

// The measure must be able to tell bad from good.
func TestStaticAndNaiveWeightsDoNot(t *testing.T) {
	for algorithm, bad := range map[string]func(Result) bool{
		"weighted_round_robin": func(r Result) bool { return r.MaxOverMean > 1.3 && r.Errors > 1000 && r.Settling == nil },
		"maglev+naive":         func(r Result) bool { return r.Oscillation > 10 && r.Overshoot > 0.2 },
	} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			if r := run(t, "neighbour", algorithm, 60); !bad(r) {
				t.Errorf("looks good: %+v", r)
			}
		})
	}
}

func TestLiarsAreHarmless(t *testing.T) {
	honest := run(t, "equal", "resource_based", 60)
	lies := []string{"liars-idle"}
	if os.Getenv("WEIR_LONG") != "" {
		lies = append(lies, "liars-third", "liars-busy", "liars-noise", "liars-frozen")
	}
	for _, scenario := range lies {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			r := run(t, scenario, "resource_based", 60)
			if r.P99 > 1.5*honest.P99 {
				t.Errorf("P99 %.1f ms, of honest ones %.1f ms", r.P99, honest.P99)
			}
			for second, weights := range r.Series.Weight {
				var sum float64
				for _, w := range weights {
					sum += w
				}
				// A tenth is configured; steps are rounded.
				if s := slices.Max(weights) / sum; s > 0.2*1.02 {
					t.Fatalf("one has %.3f of the pool after %d s", s, second)
				}
			}
		})
	}
}

func TestStepsAgainstWeightedRoundRobin(t *testing.T) {
	multiples := []float64{1.5}
	if os.Getenv("WEIR_LONG") != "" {
		multiples = Multiples()[2:]
	}
	wrr, _ := FindAlgorithm("weighted_round_robin")
	resource, _ := FindAlgorithm("resource_based")
	scenarios := StepScenarios()
	if os.Getenv("WEIR_LONG") == "" {
		scenarios = scenarios[:1]
		scenarios[0].Duration = 72 * time.Second
	}
	for _, sc := range scenarios {
		steps, err := RunSteps(sc, multiples, []Algorithm{wrr, resource}, 1)
		if err != nil || len(steps) == 0 {
			t.Fatalf("%d steps: %v", len(steps), err)
		}
		for _, s := range steps {
			if static, followed := s.Results[0].P999, s.Results[1].P999; !(followed < static) {
				t.Errorf("%s at %.2f: P99.9 %.1f ms, weighted round robin %.1f ms", sc.Name, s.Multiple, followed, static)
			}
		}
	}
}

func small() Scenario {
	sc := neighbour("small", "")
	sc.Disturbed, sc.Duration = 5*time.Second, 37*time.Second
	sc.Servers = sc.Servers[:3]
	sc.Nodes = 2
	return sc
}

func TestSameSeedSameResult(t *testing.T) {
	for _, name := range []string{"random+resource", "least_conn", "resource_based"} {
		a, _ := FindAlgorithm(name)
		one, err := Run(small(), a, 7)
		if err != nil {
			t.Fatal(err)
		}
		two, err := Run(small(), a, 7)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(one, two) {
			t.Errorf("%s: two runs of one seed differ", a.Name)
		}
		if other, _ := Run(small(), a, 8); other.Requests == one.Requests {
			t.Errorf("%s: another seed has the same %d requests", a.Name, one.Requests)
		}
	}
}

// M/M/1 at 60 %: times are exponential with a mean of service/(1 - 0.6).
func TestQueueIsAsTheorySays(t *testing.T) {
	sc := equal("queue", "")
	sc.Servers, sc.Duration = servers(1, 1), 10*time.Minute
	r, err := Run(sc, Algorithms()[0], 3)
	if err != nil {
		t.Fatal(err)
	}
	mean := ms(serviceMean) / 0.4
	for _, c := range []struct{ got, want float64 }{{r.P50, mean * math.Ln2}, {r.P99, mean * math.Log(100)}} {
		if math.Abs(c.got/c.want-1) > 0.06 {
			t.Errorf("%.1f ms, want %.1f ms", c.got, c.want)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range int64(1000) {
		h.add((i + 1) * int64(time.Millisecond))
	}
	for q, want := range map[float64]float64{0.5: 500, 0.99: 990, 0.999: 999, 1: 1000} {
		if got := ms(h.quantile(q)); got < want || got > 1.01*want {
			t.Errorf("quantile %v: %v ms, want %v", q, got, want)
		}
	}
	if new(histogram).quantile(0.5) != 0 {
		t.Error("an empty one has a median")
	}
}

// A flow that the flow table has no room for breaks when its entry moves, and
// is counted.
func TestFlowsWithoutRoomAreCounted(t *testing.T) {
	sc := small()
	sc.Requests, sc.Think = 200, 100*time.Millisecond
	a, _ := FindAlgorithm("resource_based")
	s, err := newSim(sc, a, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range s.nodes {
		for i := range n.sets {
			n.sets[i] = setSize
		}
	}
	for s.queue.heap[0].at < int64(sc.Duration) {
		e := s.queue.pop()
		s.now = e.at
		if err := s.happen(e); err != nil {
			t.Fatal(err)
		}
	}
	if r := s.result(); r.Broken == 0 || r.Flows == 0 {
		t.Errorf("%d flows broken, %.0f moved", r.Broken, r.Flows)
	}
}

func TestPlotIsXML(t *testing.T) {
	results, err := RunAll([]Scenario{small()}, Algorithms()[:2], 1)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := Plot(&b, results); err != nil {
		t.Fatal(err)
	}
	lines := 0
	for d := xml.NewDecoder(&b); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "polyline" {
			lines++
		}
	}
	if lines != 2*2*3 {
		t.Errorf("%d lines, want one per result, panel and backend", lines)
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Scenarios() {
		if seen[s.Name] || s.Text == "" {
			t.Errorf("scenario %q", s.Name)
		}
		seen[s.Name] = true
	}
	if _, err := Find("none"); err == nil {
		t.Error("scenario none is found")
	}
	if _, err := FindAlgorithm("none"); err == nil {
		t.Error("algorithm none is found")
	}
}
