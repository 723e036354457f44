package control_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"weir/loader/control"
	"weir/loader/control/controltest"
	"weir/loader/lb"
)

// fakeTier notes what it is told.
type fakeTier struct {
	mu     sync.Mutex
	told   []string
	refuse error
}

func (f *fakeTier) note(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, what)
}

func (f *fakeTier) Prepare(c lb.Config) (commit, discard func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return nil, nil, f.refuse
	}
	name := c.HTTP.Listeners[0].Name
	f.told = append(f.told, "prepare "+name)
	return func() { f.note("commit " + name) }, func() { f.note("discard " + name) }, nil
}

func withListener(c lb.Config, name string) lb.Config {
	c.HTTP.Listeners = []lb.Listener{{Name: name}}
	return c
}

func TestTierFollowsTheDataPlane(t *testing.T) {
	tier := &fakeTier{}
	cfg := withListener(config(t), "a")
	r := start(t, control.Options{Config: cfg, Tier: tier})
	for len(r.Published()) > 0 {
		<-r.Published()
	}
	if err := r.Reload(r.ctx, withListener(cfg, "b")); err != nil {
		t.Fatal(err)
	}
	<-r.Published()
	r.data.FailConfigure(errors.New("no"))
	if err := r.Reload(r.ctx, withListener(cfg, "c")); err == nil {
		t.Error("a configuration was taken that the data plane refused")
	}
	r.data.FailConfigure(nil)
	tier.mu.Lock()
	tier.refuse = errors.New("address in use")
	tier.mu.Unlock()
	if err := r.Reload(r.ctx, withListener(cfg, "d")); err == nil || !errors.Is(err, control.ErrInvalid) || !strings.Contains(err.Error(), "address in use") {
		t.Errorf("reload: %v", err)
	}
	if got := r.Snapshot().Config.HTTP.Listeners[0].Name; got != "b" {
		t.Errorf("in force is %s", got)
	}
	want := []string{"prepare a", "commit a", "prepare b", "commit b", "prepare c", "discard c"}
	if !slices.Equal(tier.told, want) {
		t.Errorf("told %q, want %q", tier.told, want)
	}
}

func TestTierThatCannotStart(t *testing.T) {
	data := controltest.NewDataPlane()
	c := control.New(control.Options{
		Config: withListener(config(t), "a"), Tier: &fakeTier{refuse: errors.New("address in use")},
		DataPlane: data, Hops: controltest.NewHops(ep1.Addr(), ep2.Addr(), ep3.Addr()),
	})
	if err := c.Run(t.Context()); err == nil || err.Error() != "HTTP: address in use" {
		t.Errorf("started: %v", err)
	}
	if c.Snapshot() != nil || data.Applies() > 0 {
		t.Error("something is in force")
	}
}
