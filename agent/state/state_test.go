package state_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"weir/agent/report"
	"weir/agent/state"
)

func open(t *testing.T, dir string) *state.Store {
	t.Helper()
	s, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStateIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	s := open(t, dir)
	if got := s.Get(); got.Admin != report.Ready || got.Weight != nil {
		t.Errorf("at first %+v", got)
	}
	want := state.State{Admin: report.Drain, Weight: new(50), Reason: "an upgrade"}
	if _, err := s.Change(func(state.State) state.State { return want }); err != nil {
		t.Fatal(err)
	}
	got := open(t, dir).Get()
	if got.Admin != want.Admin || *got.Weight != 50 || got.Reason != want.Reason {
		t.Errorf("after a restart %+v, want %+v", got, want)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("files %v, %v", files, err)
	}
}

func TestChangeRefuses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, c := range []struct {
		next state.State
		want string
	}{
		{state.State{}, "no state"},
		{state.State{Admin: "sideways"}, "is not ready, drain or maint"},
		{state.State{Admin: report.Ready, Weight: new(-5)}, "weight_percent is -5"},
		{state.State{Admin: report.Ready, Reason: "a\nb"}, "do not print"},
	} {
		got, err := s.Change(func(state.State) state.State { return c.next })
		if err == nil || !strings.Contains(err.Error(), c.want) || got.Admin != report.Ready {
			t.Errorf("%+v: %+v, %v; want an error with %q", c.next, got, err, c.want)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Change(func(o state.State) state.State { o.Admin = report.Maint; return o }); err == nil || s.Get().Admin != report.Ready {
		t.Errorf("without a directory: %v, %+v", err, s.Get())
	}
}

func TestOpenRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "EOF",
		"{}":                            "no state",
		`{"admin":"up"}`:                "is not ready",
		`{"admin":"drain","extra":1}`:   "unknown field",
		`{"admin":"drain","reason":1}`:  "cannot unmarshal",
		strings.Repeat(" ", 1<<20):      "too many",
		`{"admin":"drain","since":"x"}`: "parsing time",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "agent.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := state.Open(dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%.40q: %v, want an error with %q", text, err, want)
		}
	}
}

func TestConcurrentChanges(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := s.Change(func(o state.State) state.State {
				next := 1
				if o.Weight != nil {
					next = *o.Weight + 1
				}
				o.Weight = &next
				return o
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := open(t, dir).Get(); *got.Weight != 20 {
		t.Errorf("after 20 changes %d", *got.Weight)
	}
}
