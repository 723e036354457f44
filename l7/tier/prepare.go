package tier

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"weir/l7/accesslog"
	"weir/l7/addrset"
	"weir/l7/certs"
	"weir/l7/exchange"
	"weir/l7/filter"
	"weir/l7/route"
	"weir/l7/trace"
	"weir/l7/value"
	"weir/loader/lb"
)

// draft is a configuration on its way into force.
type draft struct {
	tier *Tier
	next parts
	undo []func() // if it comes to nothing
	logs []*accesslog.Log

	attach []func() // sockets to their ends

	decided   chan struct{} // closed when it is in force, or will never be
	committed bool          // before that

	pools  map[string]lb.Pool
	seed   uint64
	tracer *trace.Tracer // nil: none
	gen    *generation
}

// table is a compiled router.
type table = route.Table

// Prepare makes all ready that a configuration says, sockets included, and puts
// nothing in force. One of commit and discard must be called.
func (t *Tier) Prepare(c lb.Config) (commit, discard func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := &draft{tier: t, next: newParts(), pools: map[string]lb.Pool{}, seed: c.Seed, decided: make(chan struct{})}
	for _, p := range c.Pools {
		d.pools[p.Name] = p
	}
	if err := d.build(c.HTTP); err != nil {
		d.discard()
		return nil, nil, err
	}
	return d.commit, d.discard, nil
}

func (d *draft) discard() {
	for i := len(d.undo) - 1; i >= 0; i-- {
		d.undo[i]()
	}
	close(d.decided)
}

func (d *draft) build(c lb.HTTP) error {
	d.gen = &generation{config: c, entries: map[string]exchange.Handler{}, tables: map[string]*table{}}
	for _, step := range []func(lb.HTTP) error{d.makeLogs, d.makeTracer, d.makePools, d.makeCaches, d.makeStores, d.makeEntries, d.makeSockets} {
		if err := step(c); err != nil {
			return err
		}
	}
	d.gen.ended = d.ended()
	return nil
}

func (d *draft) makeLogs(c lb.HTTP) error {
	for _, l := range c.AccessLogs {
		sink, err := take(d, d.tier.parts.sinks, d.next.sinks, l.File, l.Queue,
			func() (*accesslog.Sink, error) { return accesslog.Open(l.File, l.Queue) }, (*accesslog.Sink).Close)
		if err != nil {
			return err
		}
		text, err := value.New(l.Template, lb.PathMatch{})
		if err != nil {
			return fmt.Errorf("access log %s: %w", l.File, err)
		}
		d.logs = append(d.logs, accesslog.New(accesslog.Options{Format: l.Format, Template: text, Sample: l.Sample}, sink))
	}
	return nil
}

func (d *draft) makeTracer(c lb.HTTP) (err error) {
	if c.Tracing.Endpoint == "" {
		return nil
	}
	d.tracer, err = take(d, d.tier.parts.tracers, d.next.tracers, "", c.Tracing,
		func() (*trace.Tracer, error) { return newTracer(c.Tracing), nil }, func(*trace.Tracer) {})
	return err
}

func newTracer(c lb.Tracing) *trace.Tracer {
	headers := map[string][]string{}
	for _, h := range c.Headers {
		text, _ := h.Value.Fixed()
		headers[h.Name] = append(headers[h.Name], text)
	}
	return trace.New(trace.Options{
		Endpoint: c.Endpoint, Service: c.Service, Sample: c.Sample, Headers: headers, Timeout: c.Timeout, Queue: c.Queue,
	})
}

// makeEntries compiles the routes of each listener.
func (d *draft) makeEntries(c lb.HTTP) error {
	for _, l := range c.Listeners {
		var rules []route.Rule
		for _, r := range c.Routes {
			if !onListener(r, l.Name) {
				continue
			}
			h, err := d.handler(r, l)
			if err != nil {
				return fmt.Errorf("route %s: %w", r.Name, err)
			}
			rules = append(rules, route.Rule{Name: r.Name, Match: r.Match, Paths: r.Paths, Handler: h})
		}
		if len(rules) == 0 {
			return fmt.Errorf("listener %s: no route is for it", l.Name)
		}
		t, err := route.New(rules)
		if err != nil {
			return err
		}
		d.gen.tables[l.Name], d.gen.entries[l.Name] = t, d.entry(l, t)
	}
	return nil
}

func onListener(r lb.Route, name string) bool {
	for _, l := range r.Listeners {
		if l == name {
			return true
		}
	}
	return len(r.Listeners) == 0
}

// entry is what a listener's requests meet first.
func (d *draft) entry(l lb.Listener, h exchange.Handler) exchange.Handler {
	if l.HTTP3 {
		h = altSvc(l.Addresses[0].Port(), h)
	}
	if l.TLS == nil && d.gen.config.ACME.HTTP01 && len(d.gen.config.ACME.Hosts) > 0 {
		h = d.challenged(h)
	}
	if d.tracer != nil {
		h = d.tracer.Handler(h)
	}
	return filter.Source(addrset.New(l.Trusted))(h)
}

// answered counts what a pool answers, when it is there. It is next to the pool
// and not at the entry: a cache asks with an exchange of its own.
func (d *draft) answered(next exchange.Handler) exchange.Handler {
	metrics := d.tier.metrics
	return exchange.HandlerFunc(func(x *exchange.Exchange) {
		next.Serve(x)
		metrics.Answered(x, time.Now())
	})
}

// ended counts and logs exchanges that have ended.
func (d *draft) ended() func(*exchange.Exchange) {
	metrics, logs := d.tier.metrics, d.logs
	return func(x *exchange.Exchange) {
		metrics.Ended(x, time.Now())
		for _, l := range logs {
			l.Add(x)
		}
	}
}

// commit puts the draft in force. Nothing of it can fail.
func (d *draft) commit() {
	t := d.tier
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.parts
	t.parts = d.next
	for name, p := range d.next.pools {
		t.fill(name, p.it)
	}
	t.metrics.Keep(d.names())
	t.current.Store(d.gen)
	for _, f := range d.attach {
		f()
	}
	d.startNew(old)
	d.committed = true
	close(d.decided)
	gone(old.sockets, d.next.sockets, closeListener)
	gone(old.quic, d.next.quic, func(s *quicSocket) { t.running.Go(s.stop) })
	gone(old.ends, d.next.ends, func(e *ends) { t.leaving = append(t.leaving, e) })
	t.leaving = slices.DeleteFunc(t.leaving, func(e *ends) bool { return e.open.Load() == 0 })
	next := d.next
	t.retired.later(func() { old.retire(next) })
}

// startNew lets what is new work, and ends that of what is gone.
func (d *draft) startNew(old parts) {
	t, next := d.tier, d.next
	for name, p := range next.tracers {
		if old.tracers[name].it != p.it {
			t.start(p.it, p.it.Run)
		}
	}
	for name, p := range next.stores {
		if old.stores[name].it != p.it {
			t.start(p.it, p.it.Run)
		}
	}
	for name, p := range next.quic {
		if old.quic[name].it != p.it {
			t.running.Go(func() { p.it.serve(t) })
		}
	}
	gone(old.tracers, next.tracers, func(it *trace.Tracer) { t.jobs[it]() })
	gone(old.stores, next.stores, func(it *certs.Store) { t.retired.later(t.jobs[it]) })
}

// start runs a part until its job is cancelled or the tier ends.
func (t *Tier) start(part any, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(t.ctx)
	t.jobs[part] = cancel
	t.running.Go(func() {
		if err := run(ctx); err != nil && ctx.Err() == nil {
			t.log.Error("a part of the HTTP tier ended", "part", fmt.Sprintf("%T", part), "error", err)
		}
	})
}

func (d *draft) names() (routes, pools []string) {
	for _, r := range d.gen.config.Routes {
		routes = append(routes, r.Name)
	}
	return routes, d.gen.config.Pools()
}

// stamps is how files look now, so that a reload that finds others makes new
// parts.
func stamps(names ...string) string {
	text := ""
	for _, name := range names {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			text += name + "?" // whoever opens it says what is wrong
			continue
		}
		text += name + info.ModTime().String() + strconv.FormatInt(info.Size(), 10)
	}
	return text
}
