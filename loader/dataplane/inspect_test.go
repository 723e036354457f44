package dataplane

import (
	"os"
	"strings"
	"testing"

	"weir/loader/lb"
)

func TestInspect(t *testing.T) {
	c := testConfig(t)
	inspect := func(c lb.Config) Pinned {
		t.Helper()
		p, err := Inspect(c)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := inspect(c); p.Found || p.Held || p.Refusal != nil {
		t.Errorf("before anything is pinned: %+v", p)
	}
	c.Interfaces, c.XDPMode = []string{"lo"}, lb.XDPGeneric
	d := openTest(t, Options{Config: c})
	p := inspect(c)
	if !p.Found || !p.Held || p.Refusal != nil {
		t.Errorf("under a daemon: %+v", p)
	}
	want := PinnedLink{Interface: 1, Program: d.Info().Attachments[0].ProgramID}
	if got := p.Links["lo"]; got != want || got.Program == 0 {
		t.Errorf("link on lo is %+v, want %+v", got, want)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if p := inspect(c); p.Held {
		t.Errorf("after the daemon: %+v", p)
	}
	c.Limits.Backends *= 2
	if p := inspect(c); p.Refusal == nil || !strings.Contains(p.Refusal.Error(), "weir unload --pin-dir "+c.PinDir) {
		t.Errorf("with other limits: %+v", p)
	}
	c.Limits.Backends /= 2
	if err := os.Remove(c.PinDir + "/maps/flows"); err != nil {
		t.Fatal(err)
	}
	if p := inspect(c); p.Refusal == nil || !strings.Contains(p.Refusal.Error(), "flows") {
		t.Errorf("with a map gone: %+v", p)
	}
}
