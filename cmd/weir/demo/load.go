package demo

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"weir/loader/netlab"
)

// load drives requests from the clients' namespace and counts what came back.
type load struct {
	ns       *netlab.NS
	sources  []netip.Addr
	vip      netip.AddrPort
	bodies   map[string]bool
	requests atomic.Uint64
	failed   atomic.Uint64
	latency  histogram
	first    atomic.Pointer[error] // the first failure
	speaks   []*protocol           // in turn by worker; none: HTTP/1.1
}

// protocol is one that the HTTP tier is asked in.
type protocol struct {
	name             string
	client           func() requester
	requests, failed atomic.Uint64
}

// speak makes load of every protocol of the HTTP tier.
func (l *load) speak(roots *x509.CertPool) {
	secure := netip.AddrPortFrom(l.vip.Addr(), tlsPort)
	l.speaks = []*protocol{
		{name: "h1", client: func() requester { return newClient(l.vip, l.bodies) }},
		{name: "h2", client: func() requester { return newH2Client(secure, l.bodies, roots) }},
		{name: "h3", client: func() requester { return newH3Client(secure, l.bodies, roots) }},
	}
}

func (l *load) byProtocol() []protocolReport {
	var all []protocolReport
	for _, p := range l.speaks {
		all = append(all, protocolReport{Protocol: p.name, Requests: p.requests.Load(), Failed: p.failed.Load()})
	}
	return all
}

// clientOf is how a worker asks.
func (l *load) clientOf(worker int) (requester, *protocol) {
	if len(l.speaks) == 0 {
		return newClient(l.vip, l.bodies), &protocol{}
	}
	p := l.speaks[worker%len(l.speaks)]
	return p.client(), p
}

// phase is how hard to drive. One worker in keepAliveEvery makes several
// requests on each connection, the others one.
type phase struct {
	workers   int
	keepAlive int           // requests of a kept connection
	interval  time.Duration // between the starts of one worker's connections
}

const (
	keepAliveEvery = 4
	failurePause   = 20 * time.Millisecond
)

func fullLoad() phase { return phase{workers: 16, keepAlive: 50} }

// lightLoad makes 400 connections per second, enough to see shares within one.
func lightLoad() phase { return phase{workers: 4, keepAlive: 5, interval: 10 * time.Millisecond} }

func newLoad(topo *netlab.Topology, servers []*server) *load {
	l := &load{
		ns:      topo.Client,
		sources: topo.ClientAddrs,
		vip:     netip.AddrPortFrom(topo.VIP, vipPort),
		bodies:  make(map[string]bool),
	}
	for _, s := range servers {
		l.bodies[s.body()] = true
	}
	return l
}

// drive makes requests until ctx ends; those under way are finished.
func (l *load) drive(ctx context.Context, p phase) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := group{failed: cancel}
	for i := range p.workers {
		g.run(func() error {
			return l.ns.Do(func() error {
				l.work(ctx, p, i)
				return nil
			})
		})
	}
	if err := g.wait(); err != nil {
		return fmt.Errorf("driving load: %w", err)
	}
	return nil
}

func (l *load) work(ctx context.Context, p phase, worker int) {
	requests := 1
	if worker%keepAliveEvery == 0 {
		requests = p.keepAlive
	}
	c, protocol := l.clientOf(worker)
	if protocol.name == "h2" || protocol.name == "h3" {
		requests = p.keepAlive // nobody makes a handshake for one request
	}
	start := time.Now()
	for n := worker; ctx.Err() == nil; n++ {
		c.connection(l.sources[n%len(l.sources)], requests, func(d time.Duration, err error) {
			l.count(d, err)
			protocol.count(err)
			if err != nil { // what is down shall not be hammered
				sleep(ctx, failurePause)
			}
		})
		start = start.Add(p.interval)
		if pause := time.Until(start); p.interval > 0 && pause > 0 {
			sleep(ctx, pause)
		}
	}
}

func (p *protocol) count(err error) {
	p.requests.Add(1)
	if err != nil {
		p.failed.Add(1)
	}
}

func (l *load) count(d time.Duration, err error) {
	l.requests.Add(1)
	if err == nil {
		l.latency.add(d)
		return
	}
	l.failed.Add(1)
	l.first.CompareAndSwap(nil, &err)
}

// failure describes the failed requests, or is nil.
func (l *load) failure() error {
	failed := l.failed.Load()
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d requests failed, the first one %w", failed, l.requests.Load(), *l.first.Load())
}

// warm makes uncounted requests until one from each client address has come
// back and ready says so: neighbours are found, backends are in the table.
func (l *load) warm(ctx context.Context, ready func() bool) error {
	return l.ns.Do(func() error {
		c := newClient(l.vip, l.bodies)
		for _, from := range l.sources {
			if err := warmUntil(ctx, c, from, func() bool { return true }); err != nil {
				return err
			}
		}
		return warmUntil(ctx, c, l.sources[0], ready)
	})
}

func warmUntil(ctx context.Context, c *client, from netip.Addr, enough func() bool) error {
	for {
		var last error
		c.connection(from, 1, func(_ time.Duration, err error) { last = err })
		if last == nil && enough() {
			return nil
		}
		if ctx.Err() != nil && last != nil {
			return fmt.Errorf("no answer through the VIP: %w", last)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("some backends get no connection through the VIP: %w", context.Cause(ctx))
		}
		if last != nil {
			sleep(ctx, 50*time.Millisecond)
		}
	}
}

// sleep waits, or less if ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
