package control_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/loader/control"
	"weir/loader/health"
	"weir/loader/lb"
)

// checker is a health checker whose results the test sets.
type checker struct {
	mu      sync.Mutex
	states  map[health.Key]health.State
	err     error
	refuses error

	suspects []health.Key
	changed  chan struct{}
	watched  chan struct{} // gets a value at the first Watch
}

func newChecker() *checker {
	return &checker{states: map[health.Key]health.State{}, changed: make(chan struct{}, 1), watched: make(chan struct{}, 1)}
}

func (c *checker) Watch(targets []health.Target) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuses != nil {
		return c.refuses
	}
	next := map[health.Key]health.State{}
	for _, t := range targets {
		next[t.Key] = c.states[t.Key]
	}
	c.states = next
	c.poke()
	select {
	case c.watched <- struct{}{}:
	default:
	}
	return nil
}

func (c *checker) poke() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

func (c *checker) Changes() <-chan struct{} { return c.changed }

func (c *checker) States() map[health.Key]health.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[health.Key]health.State{}
	for k, s := range c.states {
		all[k] = s
	}
	return all
}

func (c *checker) Status(k health.Key) (health.Status, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return health.Status{State: c.states[k], Err: c.err}, true
}

func (c *checker) Suspect(k health.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.suspects = append(c.suspects, k)
}

func (c *checker) set(s health.State, err error, keys ...health.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		c.states[k] = s
	}
	c.err = err
	c.poke()
}

var (
	key1 = health.Key{Pool: "web", Endpoint: ep1}
	key2 = health.Key{Pool: "web", Endpoint: ep2}
)

func checkedConfig(t *testing.T) lb.Config {
	c := config(t)
	c.Pools[0].Backends[1].Weight = 1
	c.Pools[0].Health = lb.Health{Type: lb.HealthTCP}
	return c
}

// startChecked starts with both backends of the pool web up.
func startChecked(t *testing.T) (*rig, *checker) {
	t.Helper()
	h := newChecker()
	h.states[key1], h.states[key2] = health.Up, health.Up
	return start(t, control.Options{Config: checkedConfig(t), Health: h}), h
}

func (r *rig) awaitWeights(t *testing.T, first, second lb.EffectiveWeight) {
	t.Helper()
	r.await(t, func() bool { w := r.weights("web"); return w[ep1] == first && w[ep2] == second })
}

func TestDownBackendGetsNoFlows(t *testing.T) {
	r, h := startChecked(t)
	r.awaitWeights(t, 64, 64)
	s := r.Subscribe()
	defer s.Close()
	h.set(health.Down, errors.New("connect: connection refused"), key1)
	r.awaitWeights(t, 0, 64)
	if e := event(t, r, s, control.KindBackend); e.Reason != "down" ||
		e.Message != "backend web/10.0.0.11:80: down: connect: connection refused" {
		t.Errorf("event %+v", e)
	}
	event(t, r, s, control.KindTable) // the snapshot is there
	if state, checked := r.Snapshot().Health(control.Ref{Pool: "web", Endpoint: ep1}); state != health.Down || !checked {
		t.Errorf("snapshot has it %s", state)
	}
	h.set(health.Up, nil, key1)
	r.awaitWeights(t, 64, 64)
}

func TestPanic(t *testing.T) {
	r, h := startChecked(t)
	s := r.Subscribe()
	defer s.Close()
	h.set(health.Down, nil, key1, key2)
	if e := event(t, r, s, control.KindPool); e.Reason != "panic" || !strings.Contains(e.Message, "pool web") {
		t.Errorf("event %+v", e)
	}
	r.awaitWeights(t, 64, 64)
	h.set(health.Up, nil, key2)
	r.awaitWeights(t, 0, 64)
}

// Who goes down in a panic is seen, though no weight changes.
func TestStatesInPanic(t *testing.T) {
	r, h := startChecked(t)
	h.set(health.Down, nil, key1)
	r.awaitWeights(t, 0, 64)
	h.set(health.Down, nil, key2)
	r.awaitWeights(t, 64, 64)
	h.set(health.Unknown, nil, key1)
	for r.ctx.Err() == nil {
		if state, _ := r.Snapshot().Health(ref1); state == health.Unknown {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("the state is not in the snapshot")
}

func TestFirstApplyAwaitsHealth(t *testing.T) {
	h := newChecker()
	h.states[key1] = health.Down
	r := launch(t, control.Options{Config: checkedConfig(t), Health: h, HealthWait: time.Hour})
	select {
	case <-h.watched:
	case <-r.ctx.Done():
		t.Fatal("nothing was watched")
	}
	if r.Snapshot() != nil {
		t.Error("applied before all results were there")
	}
	h.set(health.Up, nil, key2)
	r.awaitWeights(t, 0, 64)
}

func TestFirstApplyDoesNotAwaitHealthForever(t *testing.T) {
	r := launch(t, control.Options{Config: checkedConfig(t), Health: newChecker(), HealthWait: time.Millisecond})
	r.awaitWeights(t, 64, 64) // nothing is known of any
}

func TestReloadWithCheckThatIsRefused(t *testing.T) {
	r, h := startChecked(t)
	h.mu.Lock()
	h.refuses = errors.New("bad expression")
	h.mu.Unlock()
	next := checkedConfig(t)
	next.StateDir = r.Snapshot().Config.StateDir
	if err := r.Reload(r.ctx, next); !errors.Is(err, control.ErrInvalid) || !strings.Contains(err.Error(), "bad expression") {
		t.Errorf("error %v", err)
	}
}

// What flows met trouble with is probed, if it is checked.
func TestTroubledBackendsAreSuspected(t *testing.T) {
	cfg := checkedConfig(t)
	h := newChecker()
	h.states[key1], h.states[key2] = health.Up, health.Up
	r := launch(t, control.Options{Config: cfg, Health: h, SweepEvery: 10 * time.Millisecond})
	r.data.SetTroubled(
		lb.Troubled{VIP: web, Endpoint: ep2, Unanswered: 5},
		lb.Troubled{VIP: cfg.Services[2].VIP, Endpoint: ep3, Reset: 9},                            // not checked
		lb.Troubled{VIP: lb.VIP{Addr: web.Addr, Port: 9, Proto: lb.TCP}, Endpoint: ep1, Reset: 9}, // of no service
	)
	r.await(t, func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.suspects) > 1 })
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, k := range h.suspects {
		if k != key2 {
			t.Errorf("%s is suspected", k)
		}
	}
}
