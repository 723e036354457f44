package cache

import (
	"bytes"
	"net/http"
	"slices"
	"time"

	"weir/l7/exchange"
	"weir/l7/validator"
)

// lease is for how long an answer may be used, and how. Times are in ns, points
// of time since 1970. It does not change.
type lease struct {
	responded  int64 // when the answer, or its validation, was there
	initialAge int64 // its age then (RFC 9111, 4.2.3)
	lifetime   int64 // from age 0
	whileStale int64 // beyond lifetime, RFC 5861; 0: not
	ifError    int64 // the same
	noCache    bool  // each use needs validation
	strict     bool  // never used stale: must-revalidate, proxy-revalidate
	shared     bool  // s-maxage: stale only where the answer itself says so
}

func (l *lease) age(now int64) int64 { return max(0, l.initialAge+now-l.responded) }

// left is what remains of the lifetime; less than 0: stale since.
func (l *lease) left(now int64) int64 { return l.lifetime - l.age(now) }

// heuristic are the statuses that may be stored although the answer does not
// say so (RFC 9110, 15.1), but for 206.
var heuristic = []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501}

// understood are the statuses whose caching this package implements; others
// need freshness of their own, and no must-understand.
var understood = append([]int{302, 303, 307, 400, 403, 421, 451, 500, 502, 503, 504}, heuristic...)

// judged is what decides whether an answer is stored.
type judged struct {
	lease
	withheld [][]byte // fields that are not stored
}

// judge decides whether the answer to a GET may be stored (RFC 9111, 3), and
// gives its lease. authorized: the request had Authorization. asked and
// responded are when the request was sent and the header was there.
func (p *Policy) judge(r *exchange.Response, authorized bool, asked, responded time.Time) (judged, bool) {
	d, targeted := p.directives(&r.Header)
	j := judged{withheld: d.withheld}
	if forbidden(r, &d) || variesOnAll(&r.Header) || authorized && !p.sharesAuthorized(&d) {
		return j, false
	}
	if r.Header.Has(exchange.SetCookie) && !p.SetCookie && !names(d.withheld, "Set-Cookie") {
		return j, false
	}
	lifetime, ok := p.lifetime(r, &d, targeted, responded)
	if !ok {
		return j, false
	}
	j.lease = p.lease(&r.Header, &d, lifetime, asked, responded)
	return j, j.useful(r)
}

// forbidden reports that an answer must not be stored, whatever is asked for.
func forbidden(r *exchange.Response, d *directives) bool {
	if r.Tunnel != nil || r.Status < 200 || r.Status == http.StatusPartialContent || r.Status == http.StatusNotModified {
		return true
	}
	known := slices.Contains(understood, r.Status)
	if d.mustUnderstand {
		return !known || d.private // and no-store is for those that do not understand
	}
	return d.noStore || d.private
}

// sharesAuthorized reports whether the answer to a request with Authorization
// may be stored (RFC 9111, 3.5).
func (p *Policy) sharesAuthorized(d *directives) bool {
	return p.Authorization && (d.public || d.mustRevalidate || d.sMaxAge != absent)
}

// useful reports whether an answer could ever be used again.
func (j *judged) useful(r *exchange.Response) bool {
	if r.Header.Has(exchange.ETag) || r.Header.Has(exchange.LastModified) {
		return true
	}
	return !j.noCache && (j.lifetime > j.initialAge || j.whileStale > 0 || j.ifError > 0)
}

// directives are those of the first target that is there, or of Cache-Control.
func (p *Policy) directives(h *exchange.Header) (d directives, targeted bool) {
	for _, name := range p.Targets {
		if d, ok := readTargeted(h, name); ok {
			return d, true
		}
	}
	return readControl(h), false
}

// lifetime is the freshness (RFC 9111, 4.2.1), in ns. ok is false for what must
// not be stored for want of any.
func (p *Policy) lifetime(r *exchange.Response, d *directives, targeted bool, responded time.Time) (ns int64, ok bool) {
	cacheable := d.public || slices.Contains(heuristic, r.Status)
	configured, byStatus := p.StatusTTL[r.Status]
	switch {
	case d.sMaxAge != absent:
		ns = d.sMaxAge * int64(time.Second)
	case d.maxAge != absent:
		ns = d.maxAge * int64(time.Second)
	case !targeted && r.Header.Has(exchange.Expires):
		ns = untilExpires(&r.Header, responded)
	case byStatus:
		ns = int64(configured)
	case !cacheable:
		return 0, false
	case p.TTL > 0:
		ns = int64(p.TTL)
	default:
		ns = p.guess(&r.Header, responded)
	}
	ns = max(ns, int64(p.MinTTL))
	if p.MaxTTL > 0 {
		ns = min(ns, int64(p.MaxTTL))
	}
	return ns, true
}

// untilExpires is Expires less Date; what is no date is in the past.
func untilExpires(h *exchange.Header, responded time.Time) int64 {
	expires, ok := validator.Date(h.Get(exchange.Expires))
	if !ok || h.Count(exchange.Expires) > 1 { // as one value that is no date (RFC 9111, 4.2.1)
		return 0
	}
	date, ok := validator.Date(h.Get(exchange.Date))
	if !ok {
		date = responded.Truncate(time.Second)
	}
	return int64(min(max(0, expires.Sub(date)), forever*time.Second))
}

// guess is the heuristic freshness (RFC 9111, 4.2.2).
func (p *Policy) guess(h *exchange.Header, responded time.Time) int64 {
	modified, ok := validator.Date(h.Get(exchange.LastModified))
	if !ok || p.Heuristic == 0 {
		return 0
	}
	since := max(0, responded.Sub(modified))
	return int64(min(time.Duration(float64(since)*p.Heuristic), p.HeuristicMost))
}

func (p *Policy) lease(h *exchange.Header, d *directives, lifetime int64, asked, responded time.Time) lease {
	l := lease{
		responded: responded.UnixNano(), lifetime: lifetime, noCache: d.noCache,
		strict: d.mustRevalidate || d.proxyRevalidate, shared: d.sMaxAge != absent,
		initialAge: initialAge(h, asked, responded),
	}
	if l.strict || l.noCache {
		return l
	}
	l.whileStale = stale(d.staleWhileRevalidate, p.WhileStale, l.shared)
	l.ifError = stale(d.staleIfError, p.IfError, l.shared)
	return l
}

// stale is the answer's own permission in seconds, or else the policy's, which
// s-maxage takes away (RFC 9111, 5.2.2.10).
func stale(said int64, configured time.Duration, shared bool) int64 {
	if said != absent {
		return said * int64(time.Second)
	}
	if shared {
		return 0
	}
	return int64(configured)
}

// initialAge is the corrected initial age (RFC 9111, 4.2.3), in ns. Date is in
// whole seconds, and so is what is reckoned from it.
func initialAge(h *exchange.Header, asked, responded time.Time) int64 {
	apparent := int64(0)
	if date, ok := validator.Date(h.Get(exchange.Date)); ok {
		apparent = int64(max(0, responded.Sub(date).Truncate(time.Second)))
	}
	first, _, _ := bytes.Cut(h.Get(exchange.Age), []byte(","))
	said, _ := seconds(bytes.Trim(first, " \t"))
	delay := max(0, responded.Sub(asked))
	return max(apparent, said*int64(time.Second)+int64(delay))
}

// names reports whether a list of names of fields has one, in any case.
func names(list [][]byte, name string) bool {
	return slices.ContainsFunc(list, func(n []byte) bool { return bytes.EqualFold(n, []byte(name)) })
}
