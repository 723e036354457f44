package dataplane

import (
	"strings"
	"testing"

	"weir/loader/lb"
)

func TestPinnedLimits(t *testing.T) {
	c := testConfig(t)
	made := lb.Limits{Services: 9, Backends: 33, Flows: 1025, TableEntries: 1025}
	c.Limits = made
	d := openTest(t, Options{Config: c})
	if lack := lacks(d.limits, made); lack != "" {
		t.Errorf("maps made for %+v: %s", made, lack)
	}
	for _, tc := range []struct {
		name  string
		alter func(*lb.Limits)
		want  string // "": fits
	}{
		{"same", func(*lb.Limits) {}, ""},
		{"less", func(l *lb.Limits) { *l = lb.Limits{Services: 1, Backends: 1, Flows: 1, TableEntries: 1} }, ""},
		{"services", func(l *lb.Limits) { l.Services++ }, "limits.services: the pinned maps have no room for 10, they were made for 9"},
		{"backends", func(l *lb.Limits) { l.Backends++ }, "limits.backends: the pinned maps have no room for 34, they were made for 33"},
		{"flows", func(l *lb.Limits) { l.Flows += 3 }, "limits.flows: the pinned maps have no room for 1028"},
		{"entries", func(l *lb.Limits) { l.TableEntries += arenaLine }, "limits.table_entries: the pinned maps have no room for 1041"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			next := c
			next.Limits = lb.Limits{Services: 100, Backends: 100, Flows: 5000, TableEntries: 5000} // of other maps
			next.Least = made
			tc.alter(&next.Least)
			for what, err := range map[string]error{"start": tryOpen(t, d, next), "reload": d.Configure(next)} {
				if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "weir unload")) {
					t.Errorf("%s: %v, want %q", what, err, tc.want)
				}
			}
		})
	}
}

// tryOpen opens the pins of d, which stays open, as another daemon would.
func tryOpen(t *testing.T, d *DataPlane, c lb.Config) error {
	t.Helper()
	p, err := Inspect(c)
	if err != nil {
		t.Fatal(err)
	}
	if want := limitsOf(&d.maps); p.Limits != want {
		t.Errorf("pins have limits %+v, want %+v", p.Limits, want)
	}
	return p.Refusal
}

func TestMostFlows(t *testing.T) {
	for flows := uint32(1); flows < 5000; flows++ {
		sets := flowSets(lb.Limits{Flows: flows})
		if l := mostFlows(sets); l < flows || flowSets(lb.Limits{Flows: l}) != sets || flowSets(lb.Limits{Flows: l + 1}) == sets {
			t.Fatalf("%d flows need %d sets, of which the limit is %d", flows, sets, l)
		}
	}
}
