// Package tier is the HTTP tier as one: it makes listeners, routes, pools and
// caches of the configuration, and swaps what they are made of while
// connections go on.
package tier

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"weir/l7/exchange"
	"weir/l7/metrics"
	"weir/loader/lb"
)

// Backend is one of a pool's as the control loop has it.
type Backend struct {
	Endpoint  netip.AddrPort
	Effective lb.EffectiveWeight // 0: no new clients
	Up        bool
}

// Pools tells what the control loop makes of pools.
type Pools interface {
	// Backends are a pool's, in any order; nil if it is not known yet.
	Backends(pool string) []Backend
	// Changes gets a value, coalesced, whenever Backends may answer differently.
	Changes() <-chan struct{}
}

// Options are what a Tier needs.
type Options struct {
	Pools Pools
	Log   *slog.Logger // nil: nothing is logged
}

// Tier is all of the HTTP tier. Prepare and what it returns are called by one
// goroutine; the other methods by any.
type Tier struct {
	pools   Pools
	log     *slog.Logger
	name    string // of this node in Via
	metrics *metrics.Metrics
	refused refusals

	current atomic.Pointer[generation]

	mu      sync.Mutex                 // of what follows
	parts   parts                      // of the generation in force
	jobs    map[any]context.CancelFunc // by part
	leaving []*ends                    // of earlier generations, whose connections go on

	ctx     context.Context // of all that runs
	cancel  context.CancelFunc
	running sync.WaitGroup
	retired *retirement
}

// generation is what a configuration was made into. It is never changed, and
// requests that began with it end with it.
type generation struct {
	config  lb.HTTP
	entries map[string]exchange.Handler // by listener
	tables  map[string]*table           // by listener
	ended   func(*exchange.Exchange)
}

// New makes a tier that listens nowhere.
func New(o Options) *Tier {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &Tier{
		pools: o.Pools, log: o.Log, name: fmt.Sprintf("weir-%08x", rand.Uint32()), metrics: metrics.New(),
		ctx: ctx, cancel: cancel, retired: newRetirement(), parts: newParts(), jobs: map[any]context.CancelFunc{},
	}
	t.current.Store(&generation{})
	return t
}

// Run keeps the pools as the control loop has them until ctx ends. Then it
// stops: listeners close, requests under way have the time that drain gives
// them, and what is still open is broken off.
func (t *Tier) Run(ctx context.Context) error {
	defer t.cancel()
	for {
		select {
		case <-t.pools.Changes():
			t.follow()
		case <-ctx.Done():
			t.stop()
			return nil
		}
	}
}

// follow brings weights and health to the pools.
func (t *Tier) follow() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, p := range t.parts.pools {
		t.fill(name, p.it)
	}
}

// stop ends everything, in the order of the requests' way.
func (t *Tier) stop() {
	t.mu.Lock()
	parts, ending := t.parts, t.leaving
	t.parts = newParts()
	t.mu.Unlock()
	var closing sync.WaitGroup
	for _, s := range parts.sockets {
		closeListener(s.it)
	}
	for _, s := range parts.quic {
		closing.Go(s.it.stop)
	}
	for _, e := range parts.ends {
		ending = append(ending, e.it)
	}
	for _, e := range ending {
		closing.Go(e.drain)
	}
	closing.Wait()
	t.cancel() // connections of HTTP/2, certificates, exports
	t.running.Wait()
	t.retired.all()
	parts.drop()
}

// retireAfter is when what a reload has replaced is closed: requests that were
// about to use it have begun long before.
const retireAfter = time.Minute
