package weight

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
)

func TestReportsRefused(t *testing.T) {
	many := map[string]float64{}
	for i := range maxValues + 1 {
		many[strings.Repeat("x", i+1)] = 1
	}
	cpu := func(v float64) Report { return Report{Seq: 9, Values: map[string]float64{"cpu": v}} }
	for _, c := range []struct {
		name   string
		report Report
		want   Refusal
	}{
		{"NaN", cpu(math.NaN()), NotFinite},
		{"infinite", cpu(math.Inf(1)), NotFinite},
		{"minus infinite", cpu(math.Inf(-1)), NotFinite},
		{"negative", cpu(-0.001), Negative},
		{"huge", cpu(1e308), TooLarge},
		{"rate NaN", Report{Seq: 9, Rate: math.NaN()}, NotFinite},
		{"rate negative", Report{Seq: 9, Rate: -1}, Negative},
		{"too many", Report{Seq: 9, Values: many}, TooMany},
		{"old", Report{Seq: 9, Age: time.Hour}, TooOld},
		{"from the future", Report{Seq: 9, Age: -time.Hour}, Negative},
		{"slow", Report{Seq: 9, Tau: 24 * time.Hour}, TooOld},
		{"again", Report{Seq: 5}, Replayed},
		{"before", Report{Seq: 4}, Replayed},
		{"long boot id", Report{Boot: strings.Repeat("x", 65), Seq: 9}, TooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, capacityLaw(), backends(2))
			if err := r.pool.Report(r.now, endpoint(0), Report{Seq: 5}); err != nil {
				t.Fatal(err)
			}
			before := r.pool.Weights()
			err := r.pool.Report(r.now, endpoint(0), c.report)
			var refused *RefusedError
			if !errors.As(err, &refused) || refused.Why != c.want {
				t.Fatalf("refused as %v, want %s", err, c.want)
			}
			if r.pool.Step(r.now); r.pool.Refused()[c.want] != 1 || !slices.Equal(r.pool.Weights(), before) {
				t.Errorf("counted %v, weights %v", r.pool.Refused(), r.pool.Weights())
			}
			if err := r.pool.Report(r.now, endpoint(0), Report{Seq: 6}); err != nil {
				t.Errorf("the next good one: %v", err)
			}
		})
	}
	r := newRig(t, capacityLaw(), backends(1))
	if err := r.pool.Report(r.now, endpoint(7), Report{}); err == nil || r.pool.Refused()[NotABackend] != 1 {
		t.Errorf("a stranger's: %v", err)
	}
}

func TestOrder(t *testing.T) {
	var o order
	for _, c := range []struct {
		boot string
		seq  uint64
		ok   bool
	}{
		{"a", 0, true}, {"a", 0, false}, {"a", 1, true}, {"a", 7, true}, {"a", 6, false},
		{"b", 3, true}, {"a", 8, false}, {"b", 3, false}, {"b", 4, true}, {"c", 0, true}, {"a", 9, false}, {"b", 9, false}, {"c", 1, true},
	} {
		if err := o.admit(c.boot, c.seq); (err == nil) != c.ok {
			t.Errorf("boot %s, sequence %d: %v", c.boot, c.seq, err)
		}
	}
	for i := range 100 {
		if err := o.admit(strings.Repeat("z", i+1), 0); err != nil {
			t.Fatal(err)
		}
	}
	if len(o.former) > maxBoots {
		t.Errorf("%d boots are remembered", len(o.former))
	}
}

// FuzzReport: whatever agents say, weights stay within their bounds.
func FuzzReport(f *testing.F) {
	f.Add(uint64(1), 0.5, 100.0, int64(0), uint8(1))
	f.Add(uint64(1), 0.0, 1e12, int64(time.Second), uint8(3))
	f.Add(uint64(3), math.NaN(), math.Inf(1), int64(-1), uint8(200))
	f.Add(uint64(9), 1e308, 1e-308, int64(time.Minute), uint8(77))
	f.Fuzz(func(t *testing.T, seq uint64, value, rate float64, age int64, n uint8) {
		r := newRig(t, capacityLaw(), backends(5, lb.RatioLimit("cpu", 0.8)))
		for i := range int(n) {
			_ = r.pool.Report(r.now, endpoint(0), Report{
				Seq: seq + uint64(i), Rate: rate, Age: time.Duration(age), Tau: time.Duration(age / 2),
				Values: map[string]float64{"cpu": value},
			})
			r.second(func(i int) (Report, bool) { return Report{Rate: 50, Values: map[string]float64{"cpu": 0.5}}, i > 0 })
			checkPool(t, r.pool)
		}
	})
}

// checkPool holds at any time, whatever came in.
func checkPool(t *testing.T, p *Pool) {
	t.Helper()
	var sum float64
	for i, w := range p.Weights() {
		m := p.members[i]
		sum += float64(w)
		if float64(w) > lb.MaxFactor*unit*float64(m.base) {
			t.Fatalf("backend %d has weight %d, its base is %d", i, w, m.base)
		}
		if m.cutoff.tripped == 0 && m.aimed(p.settings) == 0 {
			t.Fatalf("backend %d is drained without a reason: %+v", i, m)
		}
	}
	for i := range p.members {
		e, ok := p.Explain(time.Unix(2_000_000, 0), p.members[i].Endpoint)
		product := unit
		for _, part := range e.Parts {
			product *= part.Value
			if part.Why == "" || math.IsNaN(part.Value) {
				t.Fatalf("part %+v", part)
			}
		}
		if e.Target > 0 && (!ok || math.Abs(product-float64(e.Effective)) > 0.01*product+0.51) {
			t.Fatalf("parts multiply to %.2f, the weight is %d: %+v", product, e.Effective, e)
		}
	}
}

func stateReport(out string, percent float64) func(int) (Report, bool) {
	return func(i int) (Report, bool) {
		r := Report{Rate: 100, Values: map[string]float64{"cpu": 0.05}}
		if i == 0 {
			r.Out, r.Percent = out, percent
		}
		return r, true
	}
}

func TestAgentTakesItselfOut(t *testing.T) {
	for _, mode := range []lb.ResourceMode{lb.ModeStatic, lb.ModeCutoff, lb.ModeCapacity} {
		s := capacityLaw()
		s.Mode = mode
		r := newRig(t, s, backends(3))
		r.second(stateReport("", 0))
		got := kinds(r.seconds(2, stateReport("drain", 0)))
		r.want(mode.String()+": out", 0, 64, 64)
		if p := r.part(0, "health"); p.Why != "its agent says drain" {
			t.Errorf("%s: explained as %+v", mode, p)
		}
		r.seconds(10, mute)
		r.want(mode.String()+": its last word holds", 0, 64, 64)
		got = append(got, kinds(r.seconds(1, stateReport("", 0)))...)
		r.want(mode.String()+": in again", 64, 64, 64)
		if !slices.Contains(got, AgentOut) || !slices.Contains(got, AgentReady) {
			t.Errorf("%s: notices %v", mode, got)
		}
	}
}

func TestAgentsThatAllLeaveAreIgnored(t *testing.T) {
	r := newRig(t, capacityLaw(), backends(3))
	got := kinds(r.seconds(2, func(int) (Report, bool) { return Report{Out: "maint"}, true }))
	r.want("panic", 64, 64, 64)
	if !slices.Contains(got, PanicBegan) {
		t.Errorf("notices %v", got)
	}
}

func TestAgentAsksForPercent(t *testing.T) {
	for percent, want := range map[float64]lb.EffectiveWeight{50: 32, 1: 7, 150: 96, 1e9: 128} {
		s := cutoffSettings()
		s.MaxMove = 1
		r := newRig(t, s, backends(3))
		r.seconds(30, stateReport("", percent))
		r.want("percent", want, 64, 64)
	}
}
