package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/loader/api/client"
	"weir/loader/api/wire"
	"weir/loader/lb"
)

// checked is a lab of three backends with health checks at 1 s, all up.
func checked(t *testing.T) *lab {
	t.Helper()
	l := newLab(t, plan{forward: lb.NAT})
	l.config.health = healthText
	l.write(t, l.config)
	l.run(t)
	awaitStates(t, wire.StateReady, wire.StateReady, wire.StateReady)
	return l
}

// downWithin is interval × fall of healthText, and half a second.
const downWithin = 3500 * time.Millisecond

// What dies gets no new flow later than that.
func TestKilledBackendGetsNoFlows(t *testing.T) {
	l := checked(t)
	d := l.load(t, mix{oneShot: 4})
	d.more(t, 100)
	x := l.servers[1]
	if err := x.kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	last, flows := killed, flowsOf(t, x)
	for time.Since(killed) < downWithin+3*time.Second {
		if n := flowsOf(t, x); n != flows {
			flows, last = n, time.Now()
		}
		time.Sleep(20 * time.Millisecond)
	}
	d.stop()
	t.Logf("last new flow %s after it was killed", last.Sub(killed).Round(10*time.Millisecond))
	if took := last.Sub(killed); took > downWithin {
		t.Errorf("new flows until %s after it was killed", took)
	}
}

// flowsOf is how many flows a backend was given.
func flowsOf(t *testing.T, s *server) uint64 {
	t.Helper()
	all, err := client.New(socketPath).Backends(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		if b.Backend == s.endpoint {
			return b.Flows
		}
	}
	t.Fatalf("no backend %s", s.endpoint)
	return 0
}

// events gathers the daemon's events until stop, which gives them.
func events(t *testing.T) (stop func() []lb.Event) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all []lb.Event
	ended := make(chan error, 1)
	go func() {
		ended <- client.New(socketPath).Events(ctx, client.EventFilter{}, func(e lb.Event) bool {
			if e.Kind == "backend" || e.Kind == "pool" {
				all = append(all, e)
			}
			return true
		})
	}()
	return func() []lb.Event {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		return all
	}
}

// A backend that goes up and down each second is published a few times only.
func TestFlappingBackend(t *testing.T) {
	l := checked(t)
	during := either(60*time.Second, 20*time.Second)
	stop := events(t)
	flip := time.NewTicker(500 * time.Millisecond) // 1 Hz
	defer flip.Stop()
	for begin := time.Now(); time.Since(begin) < during; {
		<-flip.C
		l.servers[0].refuse.Store(!l.servers[0].refuse.Load())
	}
	transitions := 0
	for _, e := range stop() {
		if e.Reason == "up" || e.Reason == "down" {
			transitions++
		}
	}
	t.Logf("%d transitions in %s", transitions, during)
	if transitions > 3 {
		t.Errorf("%d transitions were published in %s", transitions, during)
	}
}

// With all backends failing, flows go to all, and people hear of it.
func TestPanicSpreadsOverAll(t *testing.T) {
	l := checked(t)
	stop := events(t)
	for _, s := range l.servers {
		s.refuse.Store(true)
	}
	eventually(t, 10*time.Second, "panic", func() error {
		for _, w := range status(t).Warnings {
			if strings.Contains(w, "health is ignored") {
				return nil
			}
		}
		return fmt.Errorf("warnings %q", status(t).Warnings)
	})
	awaitStates(t, wire.StateDown, wire.StateDown, wire.StateDown)
	before := l.perServer()
	for range 100 {
		_, _ = l.askOnce(t.Context()) // they answer 503
	}
	for i, n := range l.perServer() {
		if n-before[i] < 10 {
			t.Errorf("backend %d got %d of 100 flows", i, n-before[i])
		}
	}
	heard := 0
	for _, e := range stop() {
		if e.Kind == "pool" && e.Reason == "panic" {
			heard++
		}
	}
	if heard != 1 {
		t.Errorf("%d events of panic", heard)
	}
	for _, s := range l.servers {
		s.refuse.Store(false)
	}
	awaitStates(t, wire.StateReady, wire.StateReady, wire.StateReady)
}
