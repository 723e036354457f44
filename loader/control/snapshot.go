package control

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"weir/loader/lb"
)

// Snapshot is what was in force at one moment. It is never changed.
type Snapshot struct {
	Config     lb.Config
	Loaded     time.Time // when Config was accepted
	State      lb.State
	Overrides  Overrides
	Effective  map[Ref]lb.EffectiveWeight
	ApplyError error // why the data plane may not hold State, or nil

	hops     map[netip.Addr]lb.NextHop
	services map[string]string // by VIP as written
}

// Hop is the next hop of a backend's address, zero if it is not known.
func (s *Snapshot) Hop(a netip.Addr) lb.NextHop { return s.hops[a] }

// ServiceAt is the name of the service with this VIP, or "".
func (s *Snapshot) ServiceAt(v lb.VIP) string { return s.services[v.String()] }

func (s *Snapshot) nameService(e lb.Event) lb.Event {
	if e.Service == "" {
		e.Service = s.services[e.VIP]
	}
	return e
}

func (c *Controller) publish(hops map[netip.Addr]lb.NextHop) {
	s := &Snapshot{
		Config: c.want.config, Loaded: c.loaded, State: c.have.state,
		Overrides: maps.Clone(c.want.overrides), ApplyError: c.applyErr,
		Effective: map[Ref]lb.EffectiveWeight{},
		hops:      hops, services: map[string]string{},
	}
	for name, p := range c.have.pools {
		for ep, w := range p.weights() {
			s.Effective[Ref{name, ep}] = w
		}
	}
	for _, v := range c.want.config.Services {
		s.services[v.VIP.String()] = v.Name
	}
	c.snapshot.Store(s)
}

// Snapshot is nil before the first Apply has succeeded.
func (c *Controller) Snapshot() *Snapshot { return c.snapshot.Load() }

// Subscribe starts listening to events: the controller's own and, from now
// on, the kernel's.
func (c *Controller) Subscribe() *Subscription { return c.hub.subscribe(subscriptionBuffer) }

// HopReason says why a backend's address has no next hop, "" if it has one.
func (c *Controller) HopReason(a netip.Addr) string { return c.opts.Hops.Reason(a) }

// Stats are the controller's own counts since it started.
type Stats struct {
	ReloadsLoaded, ReloadsRefused uint64
	Applies, ApplyFailures        uint64
	ApplyTime                     time.Duration // of all Applies together
	Flows                         lb.FlowUse    // of the last sweep
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
	return c.stats.s
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

func (t *stats) swept(use lb.FlowUse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.s.Flows = use
}
