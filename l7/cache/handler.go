package cache

import (
	"net/http"
	"time"

	"weir/l7/coding"
	"weir/l7/exchange"
)

// handler is a cache in front of another handler.
type handler struct {
	cache  *Cache
	policy Policy
	next   exchange.Handler
}

// asked is a request that the cache could not answer at once.
type asked struct {
	url    string
	extra  []byte
	client directives
	now    int64
	stored *resource // what there is of the URL, or nil
	entry  *entry    // of it, what the request may have after validation, or nil
	why    string    // why it goes forward, as in Cache-Status
}

// Serve implements exchange.Handler.
func (h *handler) Serve(x *exchange.Exchange) {
	q := &x.Request
	if x.Began.IsZero() {
		x.Began = time.Now()
	}
	switch m := string(q.Method); {
	case m != http.MethodGet && m != http.MethodHead:
		h.writeThrough(x)
	case q.Body != nil || q.Length != 0 || q.Header.Has(exchange.Upgrade):
		h.pass(x, note{fwd: "bypass"})
	default:
		h.look(x)
	}
}

// look answers from what is stored, or asks.
func (h *handler) look(x *exchange.Exchange) {
	q := &x.Request
	if h.policy.Key.encodings {
		normalise(&q.Header)
	}
	var urlRoom [512]byte // longer ones cost an allocation
	var extraRoom [128]byte
	url := h.policy.Key.appendURL(urlRoom[:0], x.Client != nil && x.Client.TLS != nil, q.Authority, q.Path, q.Query)
	var extra []byte
	if h.policy.Key.hasExtra() {
		extra = h.policy.Key.appendExtra(extraRoom[:0], &q.Header)
	}
	client := none()
	if !h.policy.IgnoreClient {
		client = readControl(&q.Header)
	}
	stored, now := h.cache.lookup(url), x.Began.UnixNano()
	if stored != nil && stored.varies() {
		normalise(&q.Header)
	}
	e := stored.choose(&q.Header, extra)
	use, why := e.use(now, &client)
	if use == ask {
		normalise(&q.Header)
		a := asked{string(url), append([]byte(nil), extra...), client, now, stored, e, why}
		if e == nil && stored != nil && len(stored.variants) > 0 {
			a.why = "vary-miss"
		}
		h.ask(x, &a)
		return
	}
	if use == whileAsking {
		normalise(&q.Header)
		h.refresh(x, asked{string(url), append([]byte(nil), extra...), client, now, stored, e, why})
	}
	h.cache.stats.hits.Add(1)
	x.Cache = "hit"
	h.answer(x, e, now, note{hit: true})
}

// normalise puts Accept-Encoding into one of a few forms.
func normalise(h *exchange.Header) {
	if !h.Has(exchange.AcceptEncoding) {
		return
	}
	value, ok := coding.Read(h).Canonical()
	switch {
	case !ok:
	case value == nil:
		h.DelKnown(exchange.AcceptEncoding)
	default:
		h.SetKnown(exchange.AcceptEncoding, value)
	}
}

// use is what may be done with an entry.
type use uint8

const (
	ask         use = iota // it must be asked for, or validated
	give                   // it is given
	whileAsking            // it is given, and validated in the background
)

// use decides about an entry (RFC 9111, 4.2.4 and 5.2.1; RFC 5861, 3), and says
// why it cannot be used, as in Cache-Status.
func (e *entry) use(now int64, client *directives) (use, string) {
	if e == nil {
		return ask, "uri-miss"
	}
	left, unwanted := e.left(now), e.unwanted(now, client)
	switch {
	case e.noCache || e.invalid.Load():
		return ask, "stale"
	case unwanted && left > 0:
		return ask, "request"
	case left > 0:
		return give, ""
	case unwanted:
		return ask, "stale"
	case !e.strict && !e.shared && client.maxStale != absent && -left <= client.maxStale*int64(time.Second):
		return give, ""
	case e.whileStale > 0 && -left <= e.whileStale:
		return whileAsking, ""
	}
	return ask, "stale"
}

// unwanted reports that the client wants something newer.
func (e *entry) unwanted(now int64, client *directives) bool {
	return client.noCache ||
		client.maxAge != absent && e.age(now) > client.maxAge*int64(time.Second) ||
		client.minFresh != absent && e.left(now) < client.minFresh*int64(time.Second)
}

// helps reports whether a stale entry may be given because the origin fails
// (RFC 5861, 4).
func (e *entry) helps(now int64, client *directives) bool {
	if e == nil || e.strict || e.noCache || e.invalid.Load() {
		return false
	}
	allowed := e.ifError
	if client.staleIfError != absent && !e.shared {
		allowed = max(allowed, client.staleIfError*int64(time.Second))
	}
	return allowed > 0 && -e.left(now) <= allowed
}

// ask answers what has to be asked for.
func (h *handler) ask(x *exchange.Exchange, a *asked) {
	h.cache.stats.misses.Add(1)
	q := &x.Request.Header
	switch {
	case a.client.onlyIfCached: // RFC 9111, 5.2.1.7
		x.Fail(http.StatusGatewayTimeout, "only-if-cached, and it is not")
	case a.client.noStore || q.Has(exchange.IfMatch) || q.Has(exchange.IfUnmodifiedSince):
		h.pass(x, note{fwd: a.why})
	case q.Has(exchange.Authorization) && !h.policy.Authorization:
		h.pass(x, note{fwd: a.why})
	case string(x.Request.Method) == http.MethodHead:
		h.head(x, a)
	case a.entry == nil && a.stored != nil && a.stored.pass > a.now:
		h.alone(x, a, note{fwd: a.why})
	default:
		h.together(x, a)
	}
}

// pass forwards a request whose answer is not to be stored.
func (h *handler) pass(x *exchange.Exchange, n note) {
	h.next.Serve(x)
	h.mark(x, n)
}

// head forwards a HEAD, and learns from its answer about what is stored
// (RFC 9111, 4.3.5).
func (h *handler) head(x *exchange.Exchange, a *asked) {
	sent := time.Now()
	h.next.Serve(x)
	if e := a.entry; e != nil && e.status == http.StatusOK && x.Response.Status == http.StatusOK && x.Failure == "" {
		h.learn(x, a, sent)
	}
	h.mark(x, note{fwd: a.why})
}

func (h *handler) learn(x *exchange.Exchange, a *asked, sent time.Time) {
	if !a.entry.sameAsHead(&x.Response) {
		a.entry.invalid.Store(true)
		if h.cache.disk != nil {
			h.cache.disk.removeEntry(a.url, a.entry)
		}
		return
	}
	authorized := x.Request.Header.Has(exchange.Authorization)
	if newer, ok := h.policy.freshened(a.entry, &x.Response.Header, authorized, sent, time.Now()); ok {
		h.cache.replace(a.url, a.entry, newer)
	}
}
