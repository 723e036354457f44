package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"weir/l7/tier"
	"weir/loader/api/wire"
	"weir/loader/control"
	"weir/loader/health"
	"weir/loader/lb"
)

// poolsOf shows the HTTP tier the pools of the control loop.
type poolsOf struct{ controller func() *control.Controller }

// Backends implements tier.Pools.
func (p poolsOf) Backends(pool string) []tier.Backend {
	s := p.controller().Snapshot()
	if s == nil {
		return nil
	}
	states := s.Backends(pool)
	if states == nil {
		return nil
	}
	panics := s.Panics(pool)
	all := make([]tier.Backend, len(states))
	for i, b := range states {
		state, checked := s.Health(control.Ref{Pool: pool, Endpoint: b.Endpoint})
		all[i] = tier.Backend{Endpoint: b.Endpoint, Effective: b.Effective, Up: !checked || state == health.Up || panics}
	}
	return all
}

// Changes implements tier.Pools.
func (p poolsOf) Changes() <-chan struct{} { return p.controller().Published() }

// shownTier is the tier as the admin API shows it.
type shownTier struct {
	*tier.Tier
	pools poolsOf
}

func (s shownTier) Routes() []wire.Route {
	all := []wire.Route{}
	for _, r := range s.Tier.Routes() {
		all = append(all, showRoute(r))
	}
	return all
}

func showRoute(r lb.Route) wire.Route {
	kinds := map[lb.PathKind]string{lb.ExactPath: "path", lb.PrefixPath: "prefix", lb.PatternPath: "pattern", lb.RegexpPath: "regexp"}
	out := wire.Route{
		Name: r.Name, Listeners: r.Listeners, Hosts: r.Match.Hosts, Methods: r.Match.Methods,
		Others: len(r.Match.Headers) + len(r.Match.Query) + len(r.Match.Cookies) + min(len(r.Match.Sources), 1),
		Action: actionOf(r), Filters: tier.Filters(r),
	}
	if kind, there := kinds[r.Match.Path.Kind]; there {
		out.Path = kind + " " + r.Match.Path.Text
	}
	return out
}

func actionOf(r lb.Route) string {
	switch {
	case r.Redirect != nil:
		return fmt.Sprintf("redirect %d %s", r.Redirect.Status, r.Redirect.Location)
	case r.Respond != nil:
		return fmt.Sprintf("respond %d", r.Respond.Status)
	case r.Static != nil:
		return "static " + r.Static.Root
	case len(r.Split) == 1:
		return "pool " + r.Split[0].Pool
	}
	var parts []string
	for _, t := range r.Split {
		parts = append(parts, fmt.Sprintf("%s:%d", t.Pool, t.Weight))
	}
	return "split " + strings.Join(parts, " ")
}

func (s shownTier) ExplainRoute(q wire.RouteQuestion) (wire.RouteExplanation, error) {
	e, err := s.Explain(tier.Question(q))
	if err != nil {
		return wire.RouteExplanation{}, err
	}
	out := wire.RouteExplanation{Listener: e.Listener, Path: e.Decision.Path, Status: e.Decision.Status, Why: e.Decision.Why, Tried: []wire.RouteTried{}}
	for _, t := range e.Decision.Tried {
		out.Tried = append(out.Tried, wire.RouteTried{Route: t.Rule, Why: t.Why})
	}
	if e.Route == nil {
		return out, nil
	}
	shown := showRoute(*e.Route)
	out.Route = &shown
	sum := 0
	for _, t := range e.Route.Split {
		sum += t.Weight
	}
	for _, t := range e.Route.Split {
		p := wire.RoutePool{Pool: t.Pool, Share: float64(t.Weight) / float64(sum), Backends: []wire.RouteBackend{}}
		for _, b := range s.pools.Backends(t.Pool) {
			p.Backends = append(p.Backends, wire.RouteBackend{
				Backend: b.Endpoint, Effective: float64(b.Effective) / float64(lb.EffectiveUnit), Up: b.Up,
			})
		}
		out.Pools = append(out.Pools, p)
	}
	return out, nil
}

func (s shownTier) Certificates() []wire.Certificate {
	all := []wire.Certificate{}
	for _, c := range s.Tier.Certificates() {
		all = append(all, wire.Certificate(c))
	}
	slices.SortFunc(all, func(a, b wire.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	return all
}

func (s shownTier) Caches() []wire.Cache {
	all := []wire.Cache{}
	for name, c := range s.Tier.Caches() {
		n := c.Stats()
		shown := wire.Cache{
			Name: name, Hits: n.Hits, Misses: n.Misses, Collapsed: n.Collapsed, Stored: n.Stored, Validated: n.Validated,
			StaleOnError: n.StaleOnError, Evictions: n.Evictions, Purged: n.Purged, Bytes: n.Bytes, URLs: n.URLs,
			Memory: n.Memory, MemoryMax: n.MemoryMax,
		}
		if d := n.Disk; d != nil {
			shown.Disk = &wire.CacheDisk{Files: d.Files, Bytes: d.Bytes, Max: d.Max, Hits: d.Hits, Dropped: d.Dropped, Damaged: d.Damaged, Failed: d.Failed}
		}
		all = append(all, shown)
	}
	slices.SortFunc(all, func(a, b wire.Cache) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// chosen are the names of the caches that are meant.
func (s shownTier) chosen(name string) ([]string, error) {
	all := slices.Sorted(maps.Keys(s.Tier.Caches()))
	if name == "" {
		return all, nil
	}
	if !slices.Contains(all, name) {
		return nil, fmt.Errorf("there is no cache %q; there are: %s", name, cmp.Or(strings.Join(all, ", "), "none"))
	}
	return []string{name}, nil
}

func (s shownTier) CacheEntries(name, address string) ([]wire.CacheEntry, error) {
	names, err := s.chosen(name)
	if err != nil {
		return nil, err
	}
	all := []wire.CacheEntry{}
	for _, n := range names {
		entries, err := s.Tier.Caches()[n].Entries(address)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			all = append(all, wire.CacheEntry{
				Cache: n, URL: e.URL, Status: e.Status, Header: e.Header, Length: e.Length,
				Age: e.Age.Seconds(), TTL: e.TTL.Seconds(), Vary: e.Vary, Tags: e.Tags,
			})
		}
	}
	return all, nil
}

func (s shownTier) Purge(p wire.Purge) (urls int, err error) {
	names, err := s.chosen(p.Cache)
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		c := s.Tier.Caches()[name]
		n := 0
		switch {
		case p.URL != "":
			n, err = c.PurgeURL(p.URL)
		case p.Prefix != "":
			n = c.PurgePrefix(p.Prefix)
		case p.Tag != "":
			n = c.PurgeTag(p.Tag)
		default:
			n = c.PurgeAll()
		}
		if err != nil {
			return urls, err
		}
		urls += n
	}
	return urls, nil
}

func (s shownTier) Collectors() []prometheus.Collector { return s.Tier.Collectors() }
