package upstream

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weir/l7/balance"
	"weir/l7/exchange"
	"weir/l7/h1"
	"weir/loader/lb"
)

// Target is a backend as the control loop sees it.
type Target struct {
	Addr   netip.AddrPort
	Weight lb.EffectiveWeight // 0: drains, and serves only clients that stick to it
	Up     bool
}

// Pool is an exchange.Handler that has backends answer. It may be used by many
// goroutines at once.
type Pool struct {
	o       Options
	carrier carrier
	set     atomic.Pointer[set]
	queue   queue
	retries atomic.Int64 // under way
	tick    atomic.Int64 // seconds since it was made, for ages that need not be exact

	mu      sync.Mutex // guards what follows, and replacing set
	targets []Target
	all     map[netip.AddrPort]*endpoint
	stop    chan struct{}
	stopped sync.WaitGroup
}

// set is what picks are made of. It is never changed.
type set struct {
	endpoints []*endpoint // by the positions of the picker
	picker    balance.Picker
	bound     *balance.Bound // nil: not sticky
	open      bool           // some backend takes requests: it has a weight
}

// carrier is how requests are sent: connections of one protocol.
type carrier interface {
	// serve sends x to e, which counts it as under way, and receives the head of
	// the answer. release is to be called once when the answer has been sent on
	// or given up; it is nil after a failure.
	serve(x *exchange.Exchange, e *endpoint) (release func(), failure *h1.Failure)
	// sweep closes connections that are unused for too long.
	sweep(e *endpoint)
	// drop closes the unused connections of an endpoint that is gone.
	drop(e *endpoint)
}

// NewPool makes a pool without backends: Update gives it some. Close must be
// called when it is not used any more.
func NewPool(o Options) (*Pool, error) {
	o.setDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	p := &Pool{o: o, all: map[netip.AddrPort]*endpoint{}, stop: make(chan struct{})}
	p.set.Store(&set{})
	if o.Protocol == lb.UpstreamH1 {
		p.carrier = newCarrier1(p)
	} else {
		p.carrier = newCarrier2(p)
	}
	p.stopped.Go(p.run)
	return p, nil
}

// Close ends what runs in the background and closes unused connections.
// Exchanges under way go on, and their connections are closed after.
func (p *Pool) Close() {
	close(p.stop)
	p.stopped.Wait()
	_ = p.Update(nil) // no backends are balanced by any algorithm
}

// Update sets the backends. Of those that stay, connections and counts stay;
// requests under way at others end as usual.
func (p *Pool) Update(targets []Target) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.replace(slices.Clone(targets))
}

// replace makes a set of targets, or keeps the old one.
func (p *Pool) replace(targets []Target) error {
	next := &set{}
	var members []balance.Member
	kept := map[netip.AddrPort]*endpoint{}
	for _, t := range targets {
		e := p.all[t.Addr]
		if e == nil {
			e = p.newEndpoint(t.Addr)
		}
		kept[t.Addr] = e
		if t.Up && !e.ejected() {
			next.endpoints = append(next.endpoints, e)
			members = append(members, balance.Member{Endpoint: &e.Endpoint, Weight: t.Weight})
			next.open = next.open || t.Weight > 0
		}
	}
	picker, err := balance.New(p.o.Algorithm, members, p.o.Seed)
	if err != nil {
		return err
	}
	next.picker = picker
	if p.o.Sticky != nil {
		next.bound = p.o.Sticky.Bind(members)
	}
	for addr, e := range p.all {
		if kept[addr] == nil {
			e.gone.Store(true)
			p.carrier.drop(e)
		}
	}
	p.targets, p.all = targets, kept
	p.set.Store(next)
	p.queue.wakeAll() // there may be room now
	return nil
}

func (p *Pool) newEndpoint(addr netip.AddrPort) *endpoint {
	e := &endpoint{pool: p}
	e.Addr = addr
	e.Limit = int64(p.o.Connections.Max)
	if p.o.Protocol != lb.UpstreamH1 {
		e.Limit *= int64(max(1, p.o.Connections.Streams))
	}
	return e
}

// run does what is due every second and every interval of ejection.
func (p *Pool) run() {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	interval := time.NewTicker(p.o.Ejection.Interval)
	defer interval.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-second.C:
			p.tick.Add(1)
			p.each(p.carrier.sweep)
			p.readmit(time.Now())
		case <-interval.C:
			p.judge(time.Now())
		}
	}
}

func (p *Pool) each(f func(*endpoint)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.all {
		f(e)
	}
}
