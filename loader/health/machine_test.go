package health

import (
	"strings"
	"testing"
	"time"
)

// Results are written one letter each, a second apart: + for success, - for
// failure. States after each: u for up, d for down.
func TestMachine(t *testing.T) {
	for _, c := range []struct {
		name             string
		rise, fall       int
		results, expects string
	}{
		{"the first success decides", 3, 3, "+", "u"},
		{"the first failure decides", 3, 3, "-", "d"},
		{"fall", 2, 3, "+---", "uuud"},
		{"a success between failures", 2, 3, "+--+--", "uuuuuu"},
		{"rise", 2, 3, "-++", "ddu"},
		{"a failure between successes", 3, 1, "-++-+++", "ddddddu"},
		{"rise and fall of one", 1, 1, "-+", "du"},
		{"back after a first fall", 2, 2, strings.Repeat("+", 70) + "--++", strings.Repeat("u", 71) + "ddu"},
		{"held after it fell again", 1, 1, "-+-" + strings.Repeat("+", 12), "dud" + strings.Repeat("d", 10) + "uu"},
		{"held twice as long", 1, 1, "-+-" + strings.Repeat("+", 11) + "-" + strings.Repeat("+", 21),
			"dud" + strings.Repeat("d", 10) + "ud" + strings.Repeat("d", 20) + "u"},
		{"a failure while held begins anew", 1, 1, "-+-" + strings.Repeat("+", 9) + "-" + strings.Repeat("+", 11),
			"dud" + strings.Repeat("d", 10) + strings.Repeat("d", 10) + "u"},
		{"forgiven after a minute up", 1, 1, "-+-" + strings.Repeat("+", 71) + "-+",
			"dud" + strings.Repeat("d", 10) + strings.Repeat("u", 61) + "du"},
	} {
		m := machine{rise: c.rise, fall: c.fall}
		now, got := time.Unix(1000, 0), ""
		for _, r := range c.results {
			before := m.state
			if changed := m.observe(now, r == '+'); changed != (m.state != before) {
				t.Errorf("%s: change reported as %t from %s to %s", c.name, changed, before, m.state)
			}
			got += m.state.String()[:1]
			now = now.Add(time.Second)
		}
		if got != c.expects {
			t.Errorf("%s: results %s\n got %s\nwant %s", c.name, c.results, got, c.expects)
		}
	}
}

func TestInTransition(t *testing.T) {
	m := machine{rise: 2, fall: 3}
	now := time.Unix(1000, 0)
	for i, c := range []struct{ ok, want bool }{
		{true, false}, {false, true}, {false, true}, {true, false}, {false, true}, {false, true}, {false, false},
		{false, false}, {true, true}, {true, false},
	} {
		m.observe(now, c.ok)
		if m.inTransition() != c.want {
			t.Errorf("result %d: in transition is %t", i, !c.want)
		}
	}
}

// A backend that is well half of each second, probed as often as allowed.
func TestFlappingAt1HzChangesLittle(t *testing.T) {
	m := machine{rise: 2, fall: 3}
	start := time.Unix(1000, 0)
	m.observe(start, true)
	changes := 0
	for at := time.Duration(0); at < time.Minute; at += 50 * time.Millisecond {
		if m.observe(start.Add(at), at%time.Second < time.Second/2) {
			changes++
		}
	}
	if changes != 3 || m.state != Down {
		t.Errorf("%d changes, in the end %s; want 3 and down", changes, m.state)
	}
}
