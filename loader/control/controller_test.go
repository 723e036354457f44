package control_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/loader/control"
	"weir/loader/control/controltest"
	"weir/loader/lb"
	"weir/loader/weight"
)

var (
	ep1 = netip.MustParseAddrPort("10.0.0.11:80")
	ep2 = netip.MustParseAddrPort("10.0.0.12:80")
	ep3 = netip.MustParseAddrPort("10.0.0.13:80")
	web = lb.VIP{Addr: netip.MustParseAddr("192.0.2.1"), Port: 80, Proto: lb.TCP}
)

func backend(ep netip.AddrPort, w lb.Weight) lb.Backend {
	return lb.Backend{Addr: ep.Addr(), Port: ep.Port(), Weight: w}
}

func config(t *testing.T) lb.Config {
	return lb.Config{
		Interfaces: []string{"eth0"}, StateDir: filepath.Join(t.TempDir(), "state"), EventSample: 4,
		Pools: []lb.Pool{
			{Name: "web", Algorithm: lb.Maglev, TableSize: 251, Backends: []lb.Backend{backend(ep1, 1), backend(ep2, 3)}},
			{Name: "other", Algorithm: lb.Maglev, TableSize: 251, Backends: []lb.Backend{backend(ep3, 1)}},
		},
		Services: []lb.Service{
			{Name: "web", VIP: web, Forward: lb.NAT, Pool: "web"},
			{Name: "web-alt", VIP: lb.VIP{Addr: web.Addr, Port: 8080, Proto: lb.TCP}, Forward: lb.NAT, Pool: "web"},
			{Name: "other", VIP: lb.VIP{Addr: web.Addr, Port: 81, Proto: lb.TCP}, Forward: lb.DSR, Pool: "other"},
			{Name: "site", VIP: lb.VIP{Addr: web.Addr, Port: 443, Proto: lb.TCP}, Forward: lb.L7},
		},
	}
}

// rig is a controller that runs over fakes.
type rig struct {
	*control.Controller
	data *controltest.DataPlane
	hops *controltest.Hops
	ctx  context.Context // ends with the test, or when a test hangs
	stop func() error
}

func start(t *testing.T, o control.Options) *rig {
	t.Helper()
	r := launch(t, o)
	r.await(t, func() bool { return r.Snapshot() != nil && len(r.data.Samples()) == 1 })
	return r
}

func launch(t *testing.T, o control.Options) *rig {
	t.Helper()
	r := &rig{data: controltest.NewDataPlane(), hops: controltest.NewHops(ep1.Addr(), ep2.Addr(), ep3.Addr())}
	if h, ok := o.Hops.(*controltest.Hops); ok {
		r.hops = h
	}
	o.DataPlane, o.Hops = r.data, r.hops
	saved, err := control.LoadOverrides(o.Config.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	o.Overrides = saved
	r.Controller = control.New(o)
	var cancel func()
	r.ctx, cancel = context.WithTimeout(context.Background(), 20*time.Second)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(r.ctx) }()
	stopped := false
	r.stop = func() error {
		stopped = true
		cancel()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			r.stop()
		}
	})
	return r
}

func (r *rig) await(t *testing.T, cond func() bool) {
	t.Helper()
	if err := r.data.Await(r.ctx, cond); err != nil {
		t.Fatalf("never happened: %v", err)
	}
}

func (r *rig) weights(service string) map[netip.AddrPort]lb.EffectiveWeight {
	all := map[netip.AddrPort]lb.EffectiveWeight{}
	for _, s := range r.data.State().Services {
		if s.Service.Name == service {
			for _, b := range s.Backends {
				all[b.Endpoint] = b.Effective
			}
		}
	}
	return all
}

// event returns the next event of a kind.
func event(t *testing.T, r *rig, s *control.Subscription, kind string) lb.Event {
	t.Helper()
	for {
		select {
		case e := <-s.C():
			if e.Kind == kind {
				return e
			}
		case <-r.ctx.Done():
			t.Fatalf("no %s event", kind)
		}
	}
}

func TestStateOfConfig(t *testing.T) {
	r := start(t, control.Options{Config: config(t)})
	st := r.data.State()
	if len(st.Services) != 4 || len(st.Tables) != 2 {
		t.Fatalf("%d services and %d tables, want 4 and 2", len(st.Services), len(st.Tables))
	}
	if st.Services[0].Table != st.Services[1].Table || st.Services[0].Table == st.Services[2].Table {
		t.Errorf("tables %d %d %d: services of one pool, and only they, share one", st.Services[0].Table, st.Services[1].Table, st.Services[2].Table)
	}
	if n := len(st.Services[3].Backends); n != 0 {
		t.Errorf("l7 service has %d backends", n)
	}
	if got := r.weights("web"); got[ep1] != 64 || got[ep2] != 192 {
		t.Errorf("effective weights %v, want 64 and 192", got)
	}
	for _, b := range st.Services[0].Backends {
		if !b.Hop.Resolved() {
			t.Errorf("backend %s has no next hop", b.Endpoint)
		}
	}
}

func TestFirstApplyWaitsForHops(t *testing.T) {
	hops := controltest.NewHops(ep1.Addr())
	r := launch(t, control.Options{Config: config(t), Hops: hops, HopWait: time.Hour})
	hops.Learn(ep2.Addr())
	if n := r.data.Applies(); n != 0 {
		t.Fatalf("%d applies before all next hops are known", n)
	}
	hops.Learn(ep3.Addr())
	r.await(t, func() bool { return r.data.Applies() == 1 })
	for _, s := range r.data.State().Services[:3] {
		for _, b := range s.Backends {
			if !b.Hop.Resolved() {
				t.Errorf("%s: backend %s has no next hop", s.Service.Name, b.Endpoint)
			}
		}
	}
}

func TestFirstApplyDoesNotWaitForever(t *testing.T) {
	r := launch(t, control.Options{Config: config(t), Hops: controltest.NewHops(), HopWait: time.Millisecond})
	r.await(t, func() bool { return r.data.Applies() == 1 })
}

func TestFirstApplyFails(t *testing.T) {
	data := controltest.NewDataPlane()
	data.FailApply(errors.New("no room"))
	c := control.New(control.Options{Config: config(t), DataPlane: data, Hops: controltest.NewHops(), HopWait: 1})
	if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "applying the configuration: no room") {
		t.Errorf("Run = %v", err)
	}
	if err := c.Override(t.Context(), control.Ref{Pool: "web", Endpoint: ep1}, weight.Override{Drain: true}); !errors.Is(err, control.ErrStopped) {
		t.Errorf("Drain after the end = %v", err)
	}
}

func TestHopChange(t *testing.T) {
	r := start(t, control.Options{Config: config(t)})
	r.hops.Forget(ep2.Addr())
	r.await(t, func() bool { return !r.data.State().Services[0].Backends[1].Hop.Resolved() })
	before := r.data.Applies()
	r.hops.Learn(ep1.Addr()) // known already: nothing to apply
	r.hops.Learn(ep2.Addr())
	r.await(t, func() bool { return r.data.State().Services[0].Backends[1].Hop.Resolved() })
	if n := r.data.Applies() - before; n != 1 {
		t.Errorf("%d applies for one change", n)
	}
}

// Interfaces that tag are part of the state: that one comes is applied.
func TestVLANChange(t *testing.T) {
	r := launch(t, control.Options{Config: config(t), HopWait: time.Millisecond})
	r.await(t, func() bool { return r.data.Applies() == 1 })
	v := lb.VLAN{IfIndex: 9, Below: 2, Tags: [lb.MaxTags]lb.Tag{{Kind: 0x8100, ID: 5}}}
	r.hops.SetVLANs(v)
	r.await(t, func() bool { return slices.Equal(r.data.State().VLANs, []lb.VLAN{v}) })
}

func TestOverrides(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg})
	ref := control.Ref{Pool: "web", Endpoint: ep1}
	sub := r.Subscribe()
	defer sub.Close()
	for _, step := range []struct {
		name    string
		do      func() error
		want    lb.EffectiveWeight
		message string
	}{
		{"weight", func() error { return r.Override(r.ctx, ref, weight.Override{Weight: 5}) }, 320, "backend web/10.0.0.11:80: weight 1 -> 5"},
		{"drain", func() error { return r.Override(r.ctx, ref, weight.Override{Drain: true}) }, 0, "backend web/10.0.0.11:80: weight 5 -> 0"},
		{"ready", func() error { return r.Ready(r.ctx, ref) }, 64, "backend web/10.0.0.11:80: weight 0 -> 1"},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		for _, service := range []string{"web", "web-alt"} {
			if got := r.weights(service)[ep1]; got != step.want {
				t.Errorf("%s: %s has effective weight %d, want %d", step.name, service, got, step.want)
			}
		}
		if e := event(t, r, sub, control.KindBackend); e.Message != step.message {
			t.Errorf("%s: event %q, want %q", step.name, e.Message, step.message)
		}
		if e := event(t, r, sub, control.KindTable); !strings.Contains(e.Message, "of 251 table entries moved") {
			t.Errorf("%s: event %q", step.name, e.Message)
		}
	}
}

func TestDrainedBackendIsNotInTable(t *testing.T) {
	r := start(t, control.Options{Config: config(t)})
	if err := r.Override(r.ctx, control.Ref{Pool: "web", Endpoint: ep2}, weight.Override{Drain: true}); err != nil {
		t.Fatal(err)
	}
	st := r.data.State()
	for i, slot := range st.Tables[st.Services[0].Table].Slots {
		if st.Services[0].Backends[slot].Endpoint == ep2 {
			t.Fatalf("entry %d leads to the drained backend", i)
		}
	}
	if err := r.Override(r.ctx, control.Ref{Pool: "web", Endpoint: ep1}, weight.Override{Drain: true}); err != nil {
		t.Fatal(err)
	}
	if n := len(r.data.State().Tables[st.Services[0].Table].Slots); n != 0 {
		t.Errorf("table of a drained pool has %d entries", n)
	}
}

func TestUnchangedPoolKeepsItsTable(t *testing.T) {
	r := start(t, control.Options{Config: config(t)})
	before := r.data.State()
	if err := r.Override(r.ctx, control.Ref{Pool: "web", Endpoint: ep1}, weight.Override{Weight: 7}); err != nil {
		t.Fatal(err)
	}
	after := r.data.State()
	if &before.Tables[1].Slots[0] != &after.Tables[1].Slots[0] {
		t.Error("the table of an unchanged pool was built again")
	}
	if &before.Tables[0].Slots[0] == &after.Tables[0].Slots[0] {
		t.Error("the table of a changed pool was not built again")
	}
}

func TestOverridesRefused(t *testing.T) {
	r := start(t, control.Options{Config: config(t)})
	applies := r.data.Applies()
	for _, tc := range []struct {
		ref  control.Ref
		w    lb.Weight
		kind error
		text string
	}{
		{control.Ref{Pool: "nope", Endpoint: ep1}, 1, control.ErrNotFound, `pool "nope" does not exist; there are: web, other`},
		{control.Ref{Pool: "web", Endpoint: ep3}, 1, control.ErrNotFound, "pool web has no backend 10.0.0.13:80"},
		{control.Ref{Pool: "web", Endpoint: ep1}, 1001, control.ErrInvalid, "weight 1001 is above 1000"},
	} {
		err := r.Override(r.ctx, tc.ref, weight.Override{Weight: tc.w})
		if !errors.Is(err, tc.kind) || err.Error() != tc.text {
			t.Errorf("Override(%s, %d) = %v, want %q", tc.ref, tc.w, err, tc.text)
		}
	}
	if n := r.data.Applies(); n != applies {
		t.Errorf("%d applies for changes that were refused", n-applies)
	}
}

func TestOverridesOutliveTheDaemon(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg})
	if err := r.Override(r.ctx, control.Ref{Pool: "web", Endpoint: ep1}, weight.Override{Weight: 9}); err != nil {
		t.Fatal(err)
	}
	if err := r.Override(r.ctx, control.Ref{Pool: "other", Endpoint: ep3}, weight.Override{Drain: true}); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	cfg.Pools = cfg.Pools[:1] // the override of pool other has lost its backend
	cfg.Services = cfg.Services[:2]
	again := start(t, control.Options{Config: cfg})
	if got := again.weights("web")[ep1]; got != 9*64 {
		t.Errorf("effective weight after a restart is %d, want %d", got, 9*64)
	}
	if n := len(again.Snapshot().Overrides); n != 1 {
		t.Errorf("%d overrides, want 1", n)
	}
}

func TestOverrideThatCannotBeApplied(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg, RetryFirst: time.Millisecond})
	sub := r.Subscribe()
	defer sub.Close()
	r.data.FailApply(errors.New("map is full"))
	ref := control.Ref{Pool: "web", Endpoint: ep1}
	err := r.Override(r.ctx, ref, weight.Override{Weight: 9})
	if err == nil || err.Error() != "backend web/10.0.0.11:80 not changed: map is full" {
		t.Errorf("SetWeight = %v", err)
	}
	if s := r.Snapshot(); s.ApplyError == nil || len(s.Overrides) != 0 {
		t.Errorf("snapshot has error %v and overrides %v", s.ApplyError, s.Overrides)
	}
	r.data.FailApply(nil)
	if e := event(t, r, sub, control.KindApply); e.Reason != "failed" {
		t.Errorf("event %+v, want failed", e)
	}
	if e := event(t, r, sub, control.KindApply); e.Reason != "recovered" {
		t.Errorf("event %+v, want recovered", e)
	}
	if got := r.weights("web")[ep1]; got != 64 {
		t.Errorf("effective weight %d, want the old 64", got)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got := start(t, control.Options{Config: cfg}).weights("web")[ep1]; got != 64 {
		t.Errorf("effective weight %d after a restart, want the old 64", got)
	}
}

func TestOverrideThatCannotBeSaved(t *testing.T) {
	cfg := config(t)
	if err := os.WriteFile(cfg.StateDir, nil, 0o600); err != nil { // a file where the directory shall be
		t.Fatal(err)
	}
	if _, err := control.LoadOverrides(cfg.StateDir); err == nil {
		t.Fatal("LoadOverrides accepts a state directory that is a file")
	}
	if err := os.Remove(cfg.StateDir); err != nil {
		t.Fatal(err)
	}
	r := start(t, control.Options{Config: cfg})
	if err := os.WriteFile(cfg.StateDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	applies := r.data.Applies()
	err := r.Override(r.ctx, control.Ref{Pool: "web", Endpoint: ep1}, weight.Override{Weight: 9})
	if err == nil || !strings.Contains(err.Error(), "not changed: saving overrides") {
		t.Errorf("SetWeight = %v", err)
	}
	if n := r.data.Applies(); n != applies {
		t.Error("a change that was not saved was applied")
	}
}

func TestReload(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg})
	if err := r.Override(r.ctx, control.Ref{Pool: "other", Endpoint: ep3}, weight.Override{Drain: true}); err != nil {
		t.Fatal(err)
	}
	sub := r.Subscribe()
	defer sub.Close()
	next := cfg
	next.Pools = []lb.Pool{cfg.Pools[0]}
	next.Pools[0].Backends = []lb.Backend{backend(ep1, 1)}
	next.Services = cfg.Services[:1]
	if err := r.Reload(r.ctx, next); err != nil {
		t.Fatal(err)
	}
	if st := r.data.State(); len(st.Services) != 1 || len(st.Services[0].Backends) != 1 {
		t.Errorf("state after the reload: %+v", st.Services)
	}
	if e := event(t, r, sub, control.KindBackend); e.Reason != "removed" {
		t.Errorf("event %+v, want the removal of a backend", e)
	}
	if e := event(t, r, sub, control.KindConfig); e.Reason != "loaded" {
		t.Errorf("event %+v, want loaded", e)
	}
	if s := r.Snapshot(); len(s.Overrides) != 0 || len(s.Config.Services) != 1 {
		t.Errorf("snapshot has overrides %v and %d services", s.Overrides, len(s.Config.Services))
	}
	if s := r.Stats(); s.ReloadsLoaded != 1 || s.ReloadsRefused != 0 {
		t.Errorf("stats %+v", s)
	}
	if saved, err := control.LoadOverrides(cfg.StateDir); err != nil || len(saved) != 0 {
		t.Errorf("overrides of removed backends in the file: %v, %v", saved, err)
	}
}

func TestReloadOfSeedMakesNewTables(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg})
	before := r.data.State().Tables[0].Slots
	cfg.Seed++
	if err := r.Reload(r.ctx, cfg); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(before, r.data.State().Tables[0].Slots) {
		t.Error("the table is that of the old seed")
	}
}

func TestReloadRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*lb.Config)
		want   string
	}{
		{"socket", func(c *lb.Config) { c.Socket = "/x" }, "socket cannot change while the daemon runs: restart the daemon, flows survive that"},
		{"mode", func(c *lb.Config) { c.XDPMode = lb.XDPGeneric }, "xdp_mode cannot change while the daemon runs: stop the daemon, run `weir unload`"},
		{"table", func(c *lb.Config) { c.Pools[0].TableSize = 4 }, "building the table of pool web"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := config(t)
			r := start(t, control.Options{Config: cfg})
			before := r.data.State()
			next := cfg
			next.Pools = append([]lb.Pool(nil), cfg.Pools...)
			next.Services = cfg.Services[:1]
			tc.change(&next)
			err := r.Reload(r.ctx, next)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Reload = %v, want %q", err, tc.want)
			}
			if n := len(r.data.State().Services); n != len(before.Services) || len(r.Snapshot().Config.Services) != n {
				t.Error("part of a refused configuration is in force")
			}
			if s := r.Stats(); s.ReloadsRefused != 1 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

func TestReloadThatCannotBeApplied(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg, RetryFirst: time.Millisecond})
	r.data.FailApply(errors.New("map is full"))
	next := cfg
	next.Services = cfg.Services[:1]
	next.Interfaces = []string{"eth1"}
	if err := r.Reload(r.ctx, next); err == nil || err.Error() != "the old configuration stays in force: map is full" {
		t.Errorf("Reload = %v", err)
	}
	r.data.FailApply(nil)
	r.await(t, func() bool { return r.Snapshot().ApplyError == nil })
	if n := len(r.data.State().Services); n != 4 {
		t.Errorf("%d services, want the old 4", n)
	}
	if got := r.data.Config().Interfaces; len(got) != 1 || got[0] != "eth0" {
		t.Errorf("interfaces %v, want the old eth0", got)
	}
}

func TestReloadThatCannotBeConfigured(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg})
	r.data.FailConfigure(errors.New("no interface eth1"))
	next := cfg
	next.Interfaces = []string{"eth1"}
	next.Services = cfg.Services[:1]
	if err := r.Reload(r.ctx, next); err == nil || err.Error() != "the old configuration stays in force: no interface eth1" {
		t.Errorf("Reload = %v", err)
	}
	if n := len(r.data.State().Services); n != 4 || r.data.Applies() != 1 {
		t.Errorf("%d services after %d applies, want the old 4 after 1", n, r.data.Applies())
	}
}

func TestReloadFile(t *testing.T) {
	cfg := config(t)
	answer := errors.New("weir.yaml:3: unknown key")
	r := start(t, control.Options{Config: cfg, Load: func() (lb.Config, error) { return cfg, answer }})
	if err := r.ReloadFile(r.ctx); !errors.Is(err, control.ErrInvalid) || err.Error() != answer.Error() {
		t.Errorf("ReloadFile = %v", err)
	}
	answer = nil
	if err := r.ReloadFile(r.ctx); err != nil {
		t.Error(err)
	}
}

func TestReloadWaitsForNewHops(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg, HopWait: time.Hour})
	ep4 := netip.MustParseAddrPort("10.0.0.14:80")
	next := cfg
	next.Pools = append([]lb.Pool(nil), cfg.Pools...)
	next.Pools[0].Backends = append([]lb.Backend{backend(ep4, 1)}, cfg.Pools[0].Backends...)
	done := make(chan error, 1)
	go func() { done <- r.Reload(r.ctx, next) }()
	if err := r.hops.AwaitAsked(r.ctx, ep4.Addr()); err != nil {
		t.Fatal(err)
	}
	r.hops.Learn(ep4.Addr())
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !r.data.State().Services[0].Backends[0].Hop.Resolved() || r.data.Applies() != 2 {
		t.Errorf("the new backend was applied without its next hop (%d applies)", r.data.Applies())
	}
}

func TestSweep(t *testing.T) {
	r := start(t, control.Options{Config: config(t), SweepEvery: time.Millisecond})
	r.await(t, func() bool { return r.data.Sweeps() > 3 })
	r.data.FailSweep(errors.New("gone"))
	n := r.data.Sweeps()
	r.await(t, func() bool { return r.data.Sweeps() > n+2 })
	if s := r.Stats(); s.Flows.Slots != 1<<20 {
		t.Errorf("stats %+v", s)
	}
}

func TestStopLeavesNoChange(t *testing.T) {
	r := start(t, control.Options{Config: config(t)})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := r.Override(context.Background(), control.Ref{Pool: "web", Endpoint: ep1}, weight.Override{Drain: true}); !errors.Is(err, control.ErrStopped) {
		t.Errorf("Drain = %v", err)
	}
}
