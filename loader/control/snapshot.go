package control

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"weir/loader/health"
	"weir/loader/lb"
	"weir/loader/weight"
)

// Snapshot is what was in force at one moment. It is never changed.
type Snapshot struct {
	Config     lb.Config
	Loaded     time.Time // when Config was accepted
	State      lb.State
	Overrides  Overrides
	ApplyError error // why the data plane may not hold State, or nil

	have   desired // what State was made from
	health verdicts
}

// Hop is the next hop of a backend's address, zero if it is not known.
func (s *Snapshot) Hop(a netip.Addr) lb.NextHop { return s.have.hops.known[a] }

// Health is what checks say of a backend, and false if it is not checked.
func (s *Snapshot) Health(r Ref) (health.State, bool) {
	v, checked := s.health[r]
	return v.state, checked
}

// Panics reports whether so much of a pool is down that health is ignored.
func (s *Snapshot) Panics(pool string) bool {
	i, known := s.have.want.pools[pool]
	return known && s.have.want.weights[i].panics
}

// Backends are a pool's backends as they are now, in the order of Config's.
// The caller leaves them as they are.
func (s *Snapshot) Backends(pool string) []lb.BackendState {
	if p := s.have.pool(pool); p != nil {
		return p.backends
	}
	return nil
}

// ServiceAt is the service with this VIP, the zero Service if there is none.
func (s *Snapshot) ServiceAt(v lb.VIP) lb.Service { return s.serviceNamed(v.String()) }

func (s *Snapshot) serviceNamed(vip string) lb.Service {
	if i, ok := s.have.want.vips[vip]; ok {
		return s.Config.Services[i]
	}
	return lb.Service{}
}

func (s *Snapshot) nameService(e lb.Event) lb.Event {
	if e.Service == "" {
		e.Service = s.serviceNamed(e.VIP).Name
	}
	return e
}

func (c *Controller) publish() {
	c.snapshot.Store(&Snapshot{
		Config: c.want.config, Loaded: c.loaded, State: c.have.state,
		Overrides: c.want.overrides, ApplyError: c.applyErr,
		have: c.have, health: c.want.health,
	})
	select {
	case c.published <- struct{}{}:
	default: // whoever reads has not seen the one before
	}
}

// Published gets a value, coalesced, whenever Snapshot may answer differently.
// It is for one reader.
func (c *Controller) Published() <-chan struct{} { return c.published }

// Snapshot is nil before the first Apply has succeeded.
func (c *Controller) Snapshot() *Snapshot { return c.snapshot.Load() }

// Subscribe starts listening to events: the controller's own and, from now
// on, the kernel's.
func (c *Controller) Subscribe() *Subscription { return c.hub.subscribe(subscriptionBuffer) }

// Hop is the next hop of a backend's address, zero if it is not known, also
// before the first Apply.
func (c *Controller) Hop(a netip.Addr) lb.NextHop {
	if h := c.known.Load(); h != nil {
		return h.known[a]
	}
	return lb.NextHop{}
}

// Tunnel is what outer headers look like.
func (c *Controller) Tunnel() lb.Tunnel {
	if s := c.snapshot.Load(); s != nil {
		return s.Config.Tunnel
	}
	return c.opts.Config.Tunnel
}

// HopReason says why a backend's address has no next hop, "" if it has one.
func (c *Controller) HopReason(a netip.Addr) string { return c.opts.Hops.Reason(a) }

// Stats are the controller's own counts since it started.
type Stats struct {
	ReloadsLoaded, ReloadsRefused uint64
	Applies, ApplyFailures        uint64
	ApplyTime                     time.Duration // of all Applies together
	Flows                         lb.FlowUse    // of the last sweep
	ReportsRefused                map[weight.Refusal]uint64
}

// stats guards Stats.
type stats struct {
	mu sync.Mutex
	s  Stats
}

// Stats may be called at any time.
func (c *Controller) Stats() Stats {
	c.stats.mu.Lock()
	defer c.stats.mu.Unlock()
	s := c.stats.s
	s.ReportsRefused = maps.Clone(s.ReportsRefused)
	return s
}

func (t *stats) applied(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.s.Applies++
	t.s.ApplyTime += took
	if err != nil {
		t.s.ApplyFailures++
	}
}

func (t *stats) reloaded(ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok {
		t.s.ReloadsLoaded++
	} else {
		t.s.ReloadsRefused++
	}
}

func (t *stats) refused(why weight.Refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.s.ReportsRefused == nil {
		t.s.ReportsRefused = map[weight.Refusal]uint64{}
	}
	t.s.ReportsRefused[why]++
}

func (t *stats) swept(use lb.FlowUse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.s.Flows = use
}
