package tier

import (
	"bytes"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"weir/l7/cache"
	"weir/l7/exchange"
	"weir/l7/route"
	"weir/loader/lb"
)

// Routes are those in force, in the file's order.
func (t *Tier) Routes() []lb.Route { return t.current.Load().config.Routes }

// Question is a request that Explain is asked about.
type Question struct {
	Method   string
	URL      string // with scheme and host
	Header   []string
	Source   netip.Addr // zero: 127.0.0.1
	Listener string     // "": the first of the URL's scheme
}

// Explanation is what becomes of a request, and why.
type Explanation struct {
	Listener string
	Decision route.Decision
	Route    *lb.Route // nil: refused
}

// Explain says which route a request takes. An error says what is wrong with
// the question.
func (t *Tier) Explain(q Question) (e Explanation, err error) {
	g := t.current.Load()
	u, err := url.Parse(q.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return e, fmt.Errorf("%q is not a URL such as http://www.example.org/path", q.URL)
	}
	if e.Listener, err = g.listenerFor(q.Listener, u.Scheme == "https"); err != nil {
		return e, err
	}
	x, err := q.exchange(u)
	if err != nil {
		return e, err
	}
	e.Decision = g.tables[e.Listener].Explain(x)
	if i := slices.IndexFunc(g.config.Routes, func(r lb.Route) bool { return r.Name == e.Decision.Route }); i >= 0 {
		e.Route = &g.config.Routes[i]
	}
	return e, nil
}

func (g *generation) listenerFor(name string, secure bool) (string, error) {
	for _, l := range g.config.Listeners {
		if name == l.Name || name == "" && secure == (l.TLS != nil) {
			return l.Name, nil
		}
	}
	if name != "" {
		return "", fmt.Errorf("there is no listener %q", name)
	}
	return "", fmt.Errorf("there is no listener for this scheme")
}

func (q Question) exchange(u *url.URL) (*exchange.Exchange, error) {
	x := &exchange.Exchange{Client: &exchange.Client{}, Source: q.Source}
	if !x.Source.IsValid() {
		x.Source = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	r := &x.Request
	r.Method, r.Authority, r.Protocol = []byte(q.Method), bytes.ToLower([]byte(u.Host)), exchange.HTTP11
	_, after, _ := strings.Cut(q.URL, "://") // as it is written, which a parsed URL is not
	after, _, _ = strings.Cut(after, "#")
	if r.Target = []byte("/"); len(after) > len(u.Host) {
		i := strings.IndexAny(after, "/?")
		if i >= 0 {
			r.Target = []byte(after[i:])
		}
		if i >= 0 && after[i] == '?' {
			r.Target = append([]byte("/"), after[i:]...)
		}
	}
	for _, line := range q.Header {
		name, v, found := strings.Cut(line, ":")
		if !found || name == "" {
			return nil, fmt.Errorf("header %q is not NAME: VALUE", line)
		}
		r.Header.Add(name, []byte(strings.TrimSpace(v)))
	}
	return x, nil
}

// Caches are the stores in force, by name.
func (t *Tier) Caches() map[string]*cache.Cache {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string]*cache.Cache{}
	for name, p := range t.parts.caches {
		all[name] = p.it
	}
	return all
}

// Filters names what a route does besides its action, in the order in which a
// request meets it; see filter.Chain.
func Filters(r lb.Route) []string {
	var all []string
	for _, f := range []struct {
		name string
		is   bool
	}{
		{"request_id", r.RequestID.Header != ""}, {"limits.body", r.BodyBytes > 0}, {"timeouts.request", r.Timeouts.Request > 0},
		{"request_headers", !r.RequestHeaders.Empty()}, {"response_headers", !r.ResponseHeaders.Empty()},
		{"cache", r.Cache != nil}, {"compress", r.Compress != nil}, {"rewrite", !isZero(r.Rewrite)}, {"mirror", r.Mirror.Pool != ""},
	} {
		if f.is {
			all = append(all, f.name)
		}
	}
	return all
}
