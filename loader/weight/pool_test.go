package weight

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
)

func TestHealthActsAtOnce(t *testing.T) {
	r := newRig(t, capacityLaw(), backends(3))
	r.pool.SetHealth(r.now, endpoint(1), Health{Why: "connect: refused"})
	if res := r.second(mute); !res.Changed || res.Moved != 0 {
		t.Errorf("one down: %+v", res)
	}
	r.want("one down", 64, 0, 64)
	if p := r.part(1, "health"); p.Value != 0 || p.Input != "connect: refused" {
		t.Errorf("explained as %+v", p)
	}
	r.pool.SetHealth(r.now, endpoint(1), Health{Up: true})
	r.second(mute)
	r.want("up again", 64, 64, 64)
}

func TestPanicIgnoresHealth(t *testing.T) {
	for _, c := range []struct {
		name      string
		weights   []lb.Weight
		down      []int
		drained   []int
		threshold float64
		want      []lb.EffectiveWeight
	}{
		{"half up is enough", []lb.Weight{1, 1}, []int{0}, nil, 0.5, []lb.EffectiveWeight{0, 64}},
		{"less than half", []lb.Weight{1, 1, 1}, []int{0, 1}, nil, 0.5, []lb.EffectiveWeight{64, 64, 64}},
		{"by weight", []lb.Weight{3, 1, 1}, []int{0}, nil, 0.5, []lb.EffectiveWeight{192, 64, 64}},
		{"all down", []lb.Weight{1, 2}, []int{0, 1}, nil, 0.5, []lb.EffectiveWeight{64, 128}},
		{"drained ones are no loss", []lb.Weight{1, 1, 1}, []int{0}, []int{1}, 0.5, []lb.EffectiveWeight{0, 0, 64}},
		{"drained ones stay out", []lb.Weight{1, 1, 1}, []int{0, 2}, []int{1}, 0.5, []lb.EffectiveWeight{64, 0, 64}},
		{"off", []lb.Weight{1, 2}, []int{0, 1}, nil, 0, []lb.EffectiveWeight{0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, all := capacityLaw(), backends(len(c.weights))
			s.Panic = c.threshold
			for i, w := range c.weights {
				all[i].Configured = w
			}
			r := newRig(t, s, all)
			for _, i := range c.down {
				r.pool.SetHealth(r.now, endpoint(i), Health{})
			}
			for _, i := range c.drained {
				r.pool.SetOverride(endpoint(i), &Override{Drain: true})
			}
			r.second(mute)
			r.want(c.name, c.want...)
		})
	}
}

func TestPanicIsNoticedOnce(t *testing.T) {
	r := newRig(t, capacityLaw(), backends(2))
	for i := range 2 {
		r.pool.SetHealth(r.now, endpoint(i), Health{})
	}
	got := r.seconds(3, mute)
	r.pool.SetHealth(r.now, endpoint(0), Health{Up: true})
	got = append(got, r.seconds(3, mute)...)
	if want := []NoticeKind{PanicBegan, PanicEnded}; !slices.Equal(kinds(got), want) {
		t.Errorf("notices %v, want %v", got, want)
	}
	r.want("one came back", 64, 0)
}

func TestSlowStart(t *testing.T) {
	s := capacityLaw()
	s.SlowStart = 20 * time.Second
	r := newRig(t, s, backends(4))
	r.second(mute)
	r.want("the pool's first start is not slow", 64, 64, 64, 64)
	r.pool.SetHealth(r.now, endpoint(0), Health{})
	r.second(mute)
	r.pool.SetHealth(r.now, endpoint(0), Health{Up: true})
	r.second(mute)
	r.want("starts at the lower bound", 6)
	r.seconds(9, mute)
	if w := r.pool.Weights()[0]; w < 28 || w > 36 {
		t.Errorf("weight %d after half of the time", w)
	}
	if p := r.part(0, "slow start"); !strings.HasPrefix(p.Why, "10s of 20s") {
		t.Errorf("explained as %+v", p)
	}
	r.seconds(12, mute)
	r.want("over", 64)
}

func TestFirstCheckIsNoComeback(t *testing.T) {
	s := capacityLaw()
	s.SlowStart = 20 * time.Second
	r := newRig(t, s, backends(2))
	r.pool.SetHealth(r.now, endpoint(0), Health{Pending: true})
	r.second(mute)
	r.want("not checked", 0, 64)
	r.pool.SetHealth(r.now, endpoint(0), Health{Up: true})
	r.second(mute)
	r.want("well from the start", 64, 64)
}

func TestWithLeavesTheOldPoolAlone(t *testing.T) {
	r := newRig(t, capacityLaw(), backends(4))
	r.seconds(60, says("cpu", 0.9, 0.5, 0.5, 0.5))
	before := r.pool.Weights()
	next, err := r.pool.With(r.now, lb.DefaultLaw(), backends(2))
	if err != nil {
		t.Fatal(err)
	}
	next.Step(r.now)
	r.second(says("cpu", 0.9, 0.5, 0.5, 0.5))
	if after := r.pool.Weights(); after[0] > before[0]+8 || len(after) != 4 {
		t.Errorf("weights %v after a change that was not taken, before %v", after, before)
	}
}

func TestRestless(t *testing.T) {
	s := lb.DefaultLaw()
	s.SlowStart = 10 * time.Second
	r := newRig(t, s, backends(2))
	restless := func(why string, want bool) {
		t.Helper()
		if r.second(mute); r.pool.Restless() != want {
			t.Errorf("%s: restless is %v", why, !want)
		}
	}
	restless("nothing to do", false)
	r.pool.SetOverride(endpoint(0), &Override{Weight: 2})
	restless("a lasting override", false)
	r.pool.SetOverride(endpoint(0), &Override{Weight: 2, Until: r.now.Add(2 * time.Second)})
	restless("an override that ends", true)
	restless("it has ended", false)
	r.pool.SetHealth(r.now, endpoint(1), Health{})
	restless("down", false)
	r.pool.SetHealth(r.now, endpoint(1), Health{Up: true})
	restless("a slow start", true)
	r.seconds(15, mute)
	restless("it is over", false)
	r.with(capacityLaw(), backends(2))
	restless("a pool that follows reports", true)
}

// Steps that come a little early move weights all the same.
func TestUnevenSteps(t *testing.T) {
	r := newRig(t, cutoffSettings(), backends(4, lb.RatioLimit("cpu", 0.8)))
	r.seconds(3, says("cpu", 0.9, 0.1, 0.1, 0.1))
	before := r.pool.Weights()[0]
	for range 5 {
		r.now = r.now.Add(-20 * time.Millisecond)
		r.second(says("cpu", 0.9, 0.1, 0.1, 0.1))
	}
	if after := r.pool.Weights()[0]; after != before-5*6 {
		t.Errorf("weight %d, %d after five steps of 980 ms", before, after)
	}
}

func TestNewBackendStartsSlowly(t *testing.T) {
	s := capacityLaw()
	s.SlowStart = 30 * time.Second
	r := newRig(t, s, backends(2))
	r.with(s, backends(3))
	if res := r.second(mute); !res.Changed {
		t.Error("no change is told")
	}
	r.want("one came", 64, 64, 6)
}

func TestOverrideExpires(t *testing.T) {
	r := newRig(t, capacityLaw(), backends(2))
	r.pool.SetOverride(endpoint(0), &Override{Weight: 5, Until: r.now.Add(10 * time.Second), Reason: "load test"})
	r.second(mute)
	r.want("set", 320, 64)
	if p := r.part(0, "override"); p.Value != 5 || p.Input != "weight 5 for 9s more: load test" {
		t.Errorf("explained as %+v", p)
	}
	r.seconds(8, mute)
	r.want("still", 320, 64)
	if got := kinds(r.seconds(1, mute)); !slices.Equal(got, []NoticeKind{OverrideExpired}) {
		t.Errorf("notices %v", got)
	}
	r.want("over", 64, 64)
}

func TestConfigureKeepsWhatWasLearned(t *testing.T) {
	r := newRig(t, capacityLaw(), backends(4))
	r.seconds(60, says("cpu", 0.9, 0.5, 0.5, 0.5))
	before := r.pool.Weights()
	if before[0] > 50 {
		t.Fatalf("nothing was learned: %v", before)
	}
	bad := backends(4)
	bad[3].Endpoint = endpoint(0)
	if _, err := r.pool.With(r.now, capacityLaw(), bad); err == nil {
		t.Error("a backend that is there twice is accepted")
	}
	r.with(capacityLaw(), slices.Concat(backends(5)[4:], backends(4)))
	r.second(mute)
	if got := r.pool.Weights(); got[0] != 64 || !slices.Equal(got[1:], before) {
		t.Errorf("weights %v after %v", got, before)
	}
}

func TestSilenceHoldsThenGlides(t *testing.T) {
	r := newRig(t, capacityLaw(), backends(4))
	r.seconds(60, says("cpu", 0.9, 0.5, 0.5, 0.5))
	low := r.pool.Weights()[0]
	talk := says("cpu", 0.9, 0.5, 0.5, 0.5)
	silent := func(i int) (Report, bool) {
		rep, _ := talk(i)
		return rep, i != 0
	}
	if got := r.seconds(3, silent); len(got) != 0 || r.pool.Weights()[0] != low {
		t.Errorf("within three intervals: weight %d after %d, notices %v", r.pool.Weights()[0], low, got)
	}
	got := r.seconds(15, silent)
	if w := r.pool.Weights()[0]; w <= low || w >= 60 || !slices.Equal(kinds(got), []NoticeKind{AgentSilent}) {
		t.Errorf("half-way: weight %d from %d, notices %v", w, low, got)
	}
	r.seconds(20, silent)
	r.want("back at the configured weight", 64)
	if got := r.seconds(1, talk); !slices.Equal(kinds(got), []NoticeKind{AgentBack}) {
		t.Errorf("notices %v", got)
	}
}

func TestCutoffOfAPool(t *testing.T) {
	r := newRig(t, cutoffSettings(), backends(4, lb.RatioLimit("memory", 0.9)))
	r.seconds(2, says("memory", 0.95, 0.5, 0.5, 0.5))
	r.want("two samples", 64, 64)
	got := r.seconds(11, says("memory", 0.95, 0.5, 0.5, 0.5))
	r.want("cut off", 0, 64, 64, 64)
	if !slices.Equal(kinds(got), []NoticeKind{CutOff}) {
		t.Errorf("notices %v", got)
	}
	if p := r.part(0, "resources"); p.Value != 0 || !strings.Contains(p.Why, "memory is 0.95, the limit 0.9, clears at 0.8") {
		t.Errorf("explained as %+v", p)
	}
	r.seconds(30, says("memory", 0.85, 0.5, 0.5, 0.5))
	r.want("between clear and limit", 0, 64)
	got = r.seconds(12, says("memory", 0.79, 0.5, 0.5, 0.5))
	r.want("cleared", 64, 64)
	if !slices.Equal(kinds(got), []NoticeKind{CutOffEnded}) {
		t.Errorf("notices %v", got)
	}
}

// Cutting off most of a pool would kill the rest.
func TestCutoffLeavesEnough(t *testing.T) {
	r := newRig(t, cutoffSettings(), backends(4, lb.RatioLimit("cpu", 0.8)))
	r.seconds(60, says("cpu", 0.95, 0.95, 0.95, 0.5))
	r.want("three of four", 64, 64, 64, 64)
	if p := r.part(0, "resources"); !strings.Contains(p.Why, "only 25 % of the pool would be left") {
		t.Errorf("explained as %+v", p)
	}
	s := cutoffSettings()
	s.Panic = 0
	r = newRig(t, s, backends(2, lb.RatioLimit("cpu", 0.8)))
	r.seconds(60, says("cpu", 0.95, 0.95))
	r.want("the last ones", 64, 64)
}

func TestHeadroomFollowsTheFreePart(t *testing.T) {
	s := capacityLaw()
	s.Mode = lb.ModeHeadroom
	r := newRig(t, s, backends(2, lb.RatioLimit("cpu", 0.8), lb.RatioLimit("memory", 0.9)))
	r.seconds(300, func(i int) (Report, bool) {
		memory := []float64{0.45, 0.675}[i] // of 0.9: half and a quarter free
		return Report{Values: map[string]float64{"cpu": 0.32, "memory": memory}}, true
	})
	got := r.pool.Weights()
	if ratio := float64(got[0]) / float64(got[1]); math.Abs(ratio-2) > 0.1 {
		t.Errorf("weights %v, want 2:1", got)
	}
}

func TestStaticIgnoresReports(t *testing.T) {
	s := capacityLaw()
	s.Mode = lb.ModeStatic
	r := newRig(t, s, backends(3, lb.RatioLimit("cpu", 0.8)))
	r.seconds(60, says("cpu", 0.99, 0.1, 0.1))
	r.want("static", 64, 64, 64)
}

func TestIdlePoolHasConfiguredWeights(t *testing.T) {
	r := newRig(t, capacityLaw(), backends(3))
	r.seconds(60, says("cpu", 0.09, 0.01, 0.03))
	r.want("idle", 64, 64, 64)
}

func TestDeadBand(t *testing.T) {
	r := newRig(t, capacityLaw(), backends(4))
	changes := 0
	for i := range 300 {
		wiggle := 0.02 * math.Sin(float64(i)/7)
		if r.second(says("cpu", 0.5+wiggle, 0.5-wiggle, 0.5, 0.5)).Changed {
			changes++
		}
	}
	if changes > 0 {
		t.Errorf("%d publishes for a wiggle of 2 points", changes)
	}
}

func TestDoubt(t *testing.T) {
	r := newRig(t, capacityLaw(), backends(5))
	// The first says that it is idle whatever it does; flows there stay three
	// times as long once it has much more than the others.
	flows := make([]float64, 5)
	var got []Notice
	var worst float64
	for second := range 160 {
		var sum float64
		for _, w := range r.pool.Weights() {
			sum += float64(w)
		}
		for i, w := range r.pool.Weights() {
			rate, stay := 1000*float64(w)/sum, 0.1
			if rate > 260 {
				stay = 0.3
			}
			flows[i] += rate
			r.pool.Traffic(r.now, endpoint(i), Traffic{Packets: uint64(10 * flows[i]), Flows: uint64(flows[i]), Active: uint64(rate * stay)})
		}
		said := 0.05
		if second < 40 {
			said = 0.6 // how long flows stay when all is well is learned
		}
		got = append(got, r.second(says("cpu", said, 0.6, 0.6, 0.6, 0.6)).Notices...)
		worst = max(worst, float64(r.pool.Weights()[0])/sum)
	}
	if !slices.Equal(kinds(got), []NoticeKind{Doubted}) || got[0].Endpoint != endpoint(0) {
		t.Fatalf("notices %v", got)
	}
	if w := r.pool.Weights()[0]; w != 64 || worst > 0.4 {
		t.Errorf("the liar has weight %d, at most %.2f of all", w, worst)
	}
	if p := r.part(0, "resources"); !strings.Contains(p.Why, "not believed") {
		t.Errorf("explained as %+v", p)
	}
}
