package e2e

import (
	"slices"
	"testing"
	"time"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

const healthText = "{type: http, interval: 1s, rise: 2, fall: 3}"

// A backend that answers 503 loses its share within
// interval x fall and half a second, and gets it back.
func TestUnhealthyBackendGetsNoFlows(t *testing.T) {
	l := newLab(t, plan{forward: lb.NAT})
	l.config.health = healthText
	l.write(t, l.config)
	l.run(t)
	awaitStates(t, wire.StateReady, wire.StateReady, wire.StateReady)
	x := l.servers[1]

	x.refuse.Store(true)
	broke := time.Now()
	awaitStates(t, wire.StateReady, wire.StateDown, wire.StateReady)
	took := time.Since(broke)
	t.Logf("down %s after it broke", took.Round(time.Millisecond))
	if took > 3500*time.Millisecond {
		t.Errorf("down only after %s", took)
	}
	for range 200 {
		who, err := l.askOnce(t.Context())
		if err != nil || who == x.name() {
			t.Fatalf("answered by %q, %v", who, err)
		}
	}

	x.refuse.Store(false)
	awaitStates(t, wire.StateReady, wire.StateReady, wire.StateReady)
	eventually(t, 5*time.Second, "flows to the backend again", yes(func() bool {
		who, _ := l.askOnce(t.Context())
		return who == x.name()
	}))
}

func awaitStates(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, 10*time.Second, "states of backends", yes(func() bool {
		var got []string
		for _, b := range backends(t) {
			got = append(got, b.State)
		}
		return slices.Equal(got, want)
	}))
}
