package tier

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"weir/l7/cache"
	"weir/l7/coding"
	"weir/l7/compress"
	"weir/l7/exchange"
	"weir/l7/filter"
	"weir/l7/static"
	"weir/l7/upstream"
	"weir/loader/lb"
)

// handler is all that a route does with the requests of a listener.
func (d *draft) handler(r lb.Route, l lb.Listener) (exchange.Handler, error) {
	action, err := d.action(r)
	if err != nil {
		return nil, err
	}
	chain, err := d.chain(r, l)
	if err != nil {
		return nil, err
	}
	return chain.Around(action), nil
}

func (d *draft) chain(r lb.Route, l lb.Listener) (c filter.Chain, err error) {
	if r.RequestID.Header != "" {
		c.RequestID = filter.RequestID(r.RequestID)
	}
	if store := d.storeOf(l); store != nil && len(l.TLS.Clients) > 0 {
		c.Misdirected = filter.Misdirected(store.ClientsShow)
	}
	if most := bodyBytes(r, l); most > 0 {
		c.Body = filter.Body(most)
	}
	if r.Timeouts != (lb.RouteTimeouts{}) {
		c.Deadline = filter.Deadline(r.Timeouts)
	}
	if !r.RequestHeaders.Empty() {
		if c.RequestHeaders, err = filter.RequestHeaders(r.RequestHeaders, r.Match.Path); err != nil {
			return c, err
		}
	}
	if !r.ResponseHeaders.Empty() {
		if c.ResponseHeaders, err = filter.ResponseHeaders(r.ResponseHeaders, r.Match.Path); err != nil {
			return c, err
		}
	}
	if r.Cache != nil {
		c.Cache = d.cached(*r.Cache)
	}
	if r.Compress != nil {
		if c.Compress, err = compressed(*r.Compress); err != nil {
			return c, err
		}
	}
	if len(r.Split) == 0 {
		return c, nil
	}
	err = d.towards(&c, r)
	return c, err
}

// towards fills in the filters on the way to backends.
func (d *draft) towards(c *filter.Chain, r lb.Route) (err error) {
	c.Forwarded, c.Via = filter.Forwarded(r.Forwarded), filter.Via(d.tier.name)
	if !isZero(r.Rewrite) {
		if c.Rewrite, err = filter.Rewrite(r.Rewrite, r.Match.Path); err != nil {
			return err
		}
	}
	if r.Mirror.Pool == "" {
		return nil
	}
	c.Mirror, err = upstream.Mirror(upstream.MirrorOptions{
		To: d.next.pools[r.Mirror.Pool].it, Percent: r.Mirror.Percent, MaxBytes: r.Mirror.MaxBytes,
	})
	return err
}

func isZero(r lb.Rewrite) bool {
	return len(r.Path)+len(r.Host)+len(r.SetQuery)+len(r.RemoveQuery) == 0 && r.StripPrefix+r.AddPrefix+r.Regexp == ""
}

// bodyBytes is 0 where there is no limit.
func bodyBytes(r lb.Route, l lb.Listener) int64 {
	if r.BodyBytes < 0 {
		return l.Limits.BodyBytes
	}
	return r.BodyBytes
}

func (d *draft) action(r lb.Route) (exchange.Handler, error) {
	switch {
	case r.Redirect != nil:
		return filter.Redirect(*r.Redirect, r.Match.Path)
	case r.Respond != nil:
		return filter.Respond(*r.Respond), nil
	case r.Static != nil:
		return d.static(r)
	}
	var all []exchange.Handler
	for _, t := range r.Split {
		p, ok := d.next.pools[t.Pool]
		if !ok {
			return nil, fmt.Errorf("there is no pool %q", t.Pool)
		}
		h, err := hosted(d.pools[t.Pool].HTTP.Host, p.it)
		if err != nil {
			return nil, err
		}
		all = append(all, d.answered(h))
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return split(all, r.Split), nil
}

// split shares requests out by weight, each for itself.
func split(handlers []exchange.Handler, targets []lb.Target) exchange.Handler {
	var ends []uint32
	sum := uint32(0)
	for _, t := range targets {
		sum += uint32(t.Weight)
		ends = append(ends, sum)
	}
	return exchange.HandlerFunc(func(x *exchange.Exchange) {
		n := rand.Uint32N(sum)
		for i, end := range ends {
			if n < end {
				handlers[i].Serve(x)
				return
			}
		}
	})
}

func (d *draft) static(r lb.Route) (exchange.Handler, error) {
	o := static.Options{Root: r.Static.Root, Index: r.Static.Index, Try: r.Static.TryFiles, Listing: r.Static.Listing, Precompressed: codings(r.Static.Precompressed)}
	if r.Static.StripPrefix && r.Match.Path.Kind == lb.PrefixPath {
		o.Prefix = strings.TrimSuffix(r.Match.Path.Text, "/")
	}
	return take(d, d.tier.parts.files, d.next.files, r.Name, o,
		func() (*static.Files, error) { return static.New(o) }, func(f *static.Files) { _ = f.Close() })
}

func (d *draft) makeCaches(c lb.HTTP) error {
	for _, s := range c.Caches {
		if old, ok := d.tier.parts.caches[s.Name]; ok && s.DiskPath != "" && old.it.DiskPath == s.DiskPath && old.settings != any(s) {
			return fmt.Errorf("cache %s: a cache with a disk cannot change while the daemon runs; give it another name and path", s.Name)
		}
		_, err := take(d, d.tier.parts.caches, d.next.caches, s.Name, s, func() (*cache.Cache, error) {
			return cache.New(cache.Options{Memory: s.Memory, MaxObject: s.MaxObject, DiskPath: s.DiskPath, DiskBytes: s.DiskBytes})
		}, closeCache)
		if err != nil {
			return fmt.Errorf("cache %s: %w", s.Name, err)
		}
	}
	return nil
}

func compressed(c lb.Compress) (filter.Filter, error) {
	f, err := compress.New(compress.Options{
		Codings: codings(c.Codings), Types: c.Types, MinSize: c.MinSize, Level: c.Level, Cookies: c.Cookies,
	})
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return f.Handler, nil
}

// codings are those that configurations name; others are refused there.
func codings(names []string) (all []coding.Coding) {
	for _, name := range names {
		if c, known := coding.Parse(name); known {
			all = append(all, c)
		}
	}
	return all
}

// cached asks a cache first.
func (d *draft) cached(p lb.CachePolicy) filter.Filter {
	store := d.next.caches[p.Store].it
	policy := cache.Policy{
		Key: cache.Key{
			IgnoreHost: p.Key.IgnoreHost, IgnoreQuery: p.Key.IgnoreQuery, SortQuery: p.Key.SortQuery, IncludeQuery: p.Key.IncludeQuery,
			ExcludeQuery: p.Key.ExcludeQuery, Headers: p.Key.Headers, Cookies: p.Key.Cookies,
		},
		TTL: p.TTL, StatusTTL: map[int]time.Duration{}, MinTTL: p.MinTTL, MaxTTL: p.MaxTTL, WhileStale: p.WhileStale, IfError: p.IfError,
		SetCookie: p.SetCookie, Authorization: p.Authorization, IgnoreClient: p.IgnoreClient, Tags: p.Tags, Status: p.Status,
	}
	if p.Heuristic {
		policy.Heuristic = heuristicPart
	}
	for code := http.StatusOK; code < 600; code++ {
		for _, s := range p.StatusTTL {
			if _, twice := policy.StatusTTL[code]; s.Status.Has(code) && !twice {
				policy.StatusTTL[code] = s.TTL
			}
		}
	}
	return func(next exchange.Handler) exchange.Handler { return store.Handler(policy, next) }
}

// heuristicPart is what RFC 9111, 4.2.2 suggests.
const heuristicPart = 0.1
