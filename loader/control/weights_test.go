package control_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/loader/control"
	"weir/loader/health"
	"weir/loader/lb"
	"weir/loader/weight"
)

var ref1 = control.Ref{Pool: "web", Endpoint: ep1}

func readOverrides(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "overrides.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOverrideEnds(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg, StepEvery: 10 * time.Millisecond})
	s := r.Subscribe()
	defer s.Close()
	o := weight.Override{Weight: 5, Until: time.Now().Add(300 * time.Millisecond), Reason: "load test"}
	if err := r.Override(r.ctx, ref1, o); err != nil {
		t.Fatal(err)
	}
	r.awaitWeights(t, 5*64, 3*64)
	if text := readOverrides(t, cfg.StateDir); !strings.Contains(text, `"reason": "load test"`) || !strings.Contains(text, `"until"`) {
		t.Errorf("file %s", text)
	}
	r.awaitWeights(t, 64, 3*64)
	for {
		e := event(t, r, s, control.KindBackend)
		if e.Reason == string(weight.OverrideExpired) {
			if e.Message != "backend web/10.0.0.11:80: weight 5 has expired" || e.Backend != ep1.String() {
				t.Errorf("event %+v", e)
			}
			break
		}
	}
	r.await(t, func() bool { return len(r.Snapshot().Overrides) == 0 })
	if text := readOverrides(t, cfg.StateDir); strings.Contains(text, "10.0.0.11") {
		t.Errorf("file %s", text)
	}
}

func TestOverrideThatEndedWhileNobodyRan(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg})
	ends := time.Now().Add(200 * time.Millisecond)
	if err := r.Override(r.ctx, ref1, weight.Override{Drain: true, Until: ends}); err != nil {
		t.Fatal(err)
	}
	lasting := weight.Override{Weight: 2, Until: time.Now().Add(time.Hour).Round(0).UTC(), Reason: "why"}
	ref2 := control.Ref{Pool: "web", Endpoint: ep2}
	if err := r.Override(r.ctx, ref2, lasting); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(ends))
	again := start(t, control.Options{Config: cfg})
	if got := again.weights("web"); got[ep1] != 64 || got[ep2] != 128 {
		t.Errorf("weights %v", got)
	}
	if all := again.Snapshot().Overrides; len(all) != 1 || all[ref2] != lasting {
		t.Errorf("overrides %v, want %v", all, lasting)
	}
}

func TestOverridesThatMakeNoSense(t *testing.T) {
	r := start(t, control.Options{Config: config(t)})
	for name, o := range map[string]weight.Override{
		"over":   {Until: time.Now().Add(-time.Second)},
		"lines":  {Reason: "a\nb"},
		"long":   {Reason: strings.Repeat("x", 201)},
		"weight": {Weight: lb.MaxWeight + 1},
	} {
		if err := r.Override(r.ctx, ref1, o); !errors.Is(err, control.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(r.Snapshot().Overrides) != 0 {
		t.Error("an override was taken")
	}
}

func TestSlowStartAfterAFailure(t *testing.T) {
	cfg := checkedConfig(t)
	cfg.Pools[0].Law = lb.DefaultLaw()
	cfg.Pools[0].Law.SlowStart = time.Hour
	h := newChecker()
	r := start(t, control.Options{Config: cfg, Health: h, HealthWait: time.Millisecond, StepEvery: 10 * time.Millisecond})
	h.set(health.Up, nil, key1, key2)
	r.awaitWeights(t, 64, 64) // the first result of all is no comeback
	h.set(health.Down, errors.New("refused"), key1)
	r.awaitWeights(t, 0, 64)
	h.set(health.Up, nil, key1)
	r.awaitWeights(t, 6, 64)
	p, err := r.ExplainBackend(r.ctx, ref1)
	if err != nil || len(p.Backends) != 1 || !strings.Contains(p.Backends[0].Parts[2].Why, "of 1h0m0s since it came up") {
		t.Errorf("explained as %+v, %v", p, err)
	}
}

func TestReloadKeepsWhatLawsKnow(t *testing.T) {
	cfg := checkedConfig(t)
	cfg.Pools[0].Law = lb.DefaultLaw()
	cfg.Pools[0].Law.SlowStart = time.Hour
	h := newChecker()
	h.states[key1], h.states[key2] = health.Down, health.Up
	r := start(t, control.Options{Config: cfg, Health: h, StepEvery: 10 * time.Millisecond})
	h.set(health.Up, nil, key1)
	r.awaitWeights(t, 6, 64)

	r.data.FailConfigure(errors.New("no"))
	refused := cfg
	refused.Pools = cfg.Pools[1:]
	refused.Services = cfg.Services[2:]
	if err := r.Reload(r.ctx, refused); err == nil {
		t.Fatal("the reload succeeded")
	}
	r.data.FailConfigure(nil)
	r.awaitWeights(t, 6, 64)
	next := cfg
	next.Seed = 7
	if err := r.Reload(r.ctx, next); err != nil {
		t.Fatal(err)
	}
	if got := r.weights("web"); got[ep1] != 6 || got[ep2] != 64 {
		t.Errorf("weights %v after a reload in a slow start", got)
	}
}

func TestReloadRefusesALawThatCannotBe(t *testing.T) {
	r := start(t, control.Options{Config: config(t)})
	next := config(t)
	next.StateDir = r.Snapshot().Config.StateDir
	next.Pools[0].Law = lb.DefaultLaw()
	next.Pools[0].Law.Min = -1
	if err := r.Reload(r.ctx, next); !errors.Is(err, control.ErrInvalid) || !strings.Contains(err.Error(), "pool web: weights: min -1") {
		t.Errorf("error %v", err)
	}
}

// A pool that follows nothing is not looked at every second.
func TestTrafficIsReadForPoolsThatFollowReportsOnly(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg, StepEvery: 5 * time.Millisecond})
	r.await(t, func() bool { return r.data.Sweeps() > 0 })
	if n := r.data.BackendReads(); len(n) != 0 {
		t.Errorf("counters of %v were read", n)
	}
	cfg.Pools = slices.Clone(cfg.Pools) // the old one is in use
	cfg.Pools[1].Law = lb.DefaultLaw()
	cfg.Pools[1].Law.Mode = lb.ModeCapacity
	if err := r.Reload(r.ctx, cfg); err != nil {
		t.Fatal(err)
	}
	r.await(t, func() bool { return len(r.data.BackendReads()) > 0 })
	for _, vip := range r.data.BackendReads() {
		if vip.Port != 81 {
			t.Errorf("counters of %s were read", vip)
		}
	}
}
