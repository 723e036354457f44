package cache

import (
	"net/http"
	"strconv"
	"time"

	"weir/l7/exchange"
	"weir/l7/prebuilt"
	"weir/l7/ranges"
	"weir/l7/validator"
)

// note is what Cache-Status says of a request (RFC 9211).
type note struct {
	hit       bool
	fwd       string // why it was forwarded
	fwdStatus int    // of the answer to it, where that is not what is sent; 0: it is
	stored    bool
	collapsed string // "; collapsed" or "; collapsed=?0"
	detail    string
	ageless   bool             // the origin made it for this request: it has no age
	own       []exchange.Field // sent besides what is stored
	old       int64            // ns since 1970 of the lease's end, for ttl; 0: none
}

// answer makes the response of an entry that is whole.
func (h *handler) answer(x *exchange.Exchange, e *entry, now int64, n note) {
	n.old = now + e.left(now)
	age, status := h.describe(x, e, now, n)
	q := &x.Request.Header
	if e.status == http.StatusOK && (q.Has(exchange.Range) || validator.Conditional(q)) {
		h.part(x, e, e.length, func(p ranges.Range) (exchange.Body, error) {
			return exchange.NewBytes(e.body[p.Start : p.Start+p.Length]), nil
		})
		return
	}
	x.Response.Length = int64(len(e.body))
	h.cache.stats.bytes.Add(x.Response.Length)
	if n.ageless || len(n.own) > 0 || e.status == http.StatusNoContent || len(e.head)+len(e.body) > prebuilt.Most-512 {
		if len(e.body) > 0 && string(x.Request.Method) == http.MethodGet {
			x.Response.SetBytes(e.body)
		}
		return
	}
	message := h.cache.messages.Take(x)
	if status == nil {
		message.Build(x, e.head, e.body, prebuilt.Line{Name: "Age", Value: age})
		return
	}
	message.Build(x, e.head, e.body, prebuilt.Line{Name: "Age", Value: age}, prebuilt.Line{Name: "Cache-Status", Value: status})
}

// describe sets status and header. Age is of now (RFC 9111, 4).
func (h *handler) describe(x *exchange.Exchange, e *entry, now int64, n note) (age, status []byte) {
	r := &x.Response
	r.Status = e.status
	e.appendTo(&r.Header)
	for i := range n.own {
		r.Header.Append(n.own[i].ID, n.own[i].Text, n.own[i].Value)
	}
	if !n.ageless {
		age = strconv.AppendInt(x.Room(12), min(wholeSeconds(e.age(now)), forever), 10)
		r.Header.AddKnown(exchange.Age, age)
	}
	if h.policy.Status {
		status = h.cache.appendStatus(x.Room(160), n, now)
		r.Header.AddKnown(exchange.CacheStatus, status)
	}
	return age, status
}

// part answers a conditional request or one for ranges, out of a 200 of that
// many bytes.
func (h *handler) part(x *exchange.Exchange, e *entry, size int64, open func(ranges.Range) (exchange.Body, error)) {
	r, q := &x.Response, &x.Request.Header
	if e.of.Evaluate(q, false) == validator.NotModified {
		notModified(r)
		return
	}
	if !e.of.RangeHolds(q) {
		// Nothing after this looks at it, and next is not asked any more.
		q.DelKnown(exchange.Range)
	}
	if size < 0 { // a conditional request that is not fulfilled, and no end in sight
		q.DelKnown(exchange.Range)
		r.Length = size
		r.Body, _ = open(ranges.Range{Length: exchange.Unknown})
		return
	}
	if err := ranges.Respond(x, size, open); err != nil {
		x.Fail(http.StatusBadGateway, err.Error())
		return
	}
	h.cache.stats.bytes.Add(r.Length)
}

// notModified makes a 304 of a 200, with the fields that it needs
// (RFC 9110, 15.4.5).
func notModified(r *exchange.Response) {
	r.Status, r.Body, r.Length = http.StatusNotModified, nil, 0
	r.Header.DelFunc(func(f *exchange.Field) bool {
		switch f.ID {
		case exchange.Age, exchange.CacheControl, exchange.CDNCacheControl, exchange.CacheStatus, exchange.Date,
			exchange.ETag, exchange.Expires, exchange.LastModified, exchange.Vary:
			return false
		}
		return string(f.Text) != "Content-Location" && string(f.Text) != "content-location"
	})
}

// stream makes the response of an entry whose body is still arriving. false: it
// is too late to join.
func (h *handler) stream(x *exchange.Exchange, e *entry, f *fill, n note) bool {
	body := f.reader(ranges.Range{Length: exchange.Unknown})
	if body == nil {
		return false
	}
	now := time.Now().UnixNano()
	n.old = now + e.left(now)
	h.describe(x, e, now, n)
	q := &x.Request.Header
	some := validator.Conditional(q) || e.length >= 0 && q.Has(exchange.Range)
	if e.status != http.StatusOK || !some {
		x.Response.Length, x.Response.Body = e.length, body
		return true
	}
	// The store wants the whole, whatever the client gets of it.
	x.After(func() { _ = body.Close() }) // never fails
	h.part(x, e, e.length, func(p ranges.Range) (exchange.Body, error) { return f.must(p) })
	return true
}

// mark adds what became of a request to a response that was forwarded as it is.
// One that weir itself made was not (RFC 9211, 2).
func (h *handler) mark(x *exchange.Exchange, n note) {
	x.Cache = n.name()
	h.untag(&x.Response)
	if !h.policy.Status || x.Failure != "" || x.Response.Status == 0 {
		return
	}
	x.Response.Prebuilt = nil
	x.Response.Header.AddKnown(exchange.CacheStatus, h.cache.appendStatus(x.Room(160), n, 0))
}

// untag takes away the fields with tags.
func (h *handler) untag(r *exchange.Response) {
	for _, name := range h.policy.Tags {
		if r.Header.GetText(name) != nil {
			r.Prebuilt = nil
			r.Header.Del(name)
		}
	}
}

// appendStatus appends a member of Cache-Status.
func (c *Cache) appendStatus(b []byte, n note, now int64) []byte {
	b = append(b, c.Name...)
	if n.hit {
		b = append(b, "; hit"...)
	} else {
		b = append(append(b, "; fwd="...), n.fwd...)
	}
	if n.fwdStatus != 0 {
		b = strconv.AppendInt(append(b, "; fwd-status="...), int64(n.fwdStatus), 10)
	}
	if n.old != 0 {
		b = strconv.AppendInt(append(b, "; ttl="...), wholeSeconds(n.old-now), 10)
	}
	if n.stored {
		b = append(b, "; stored"...)
	}
	b = append(b, n.collapsed...)
	if n.detail != "" {
		b = append(append(b, "; detail="...), n.detail...)
	}
	return b
}

// name is what logs and metrics call it.
func (n *note) name() string {
	switch n.fwd {
	case "bypass":
		return "fwd=bypass"
	case "method":
		return "fwd=method"
	case "uri-miss":
		return "fwd=uri-miss"
	case "vary-miss":
		return "fwd=vary-miss"
	case "request":
		return "fwd=request"
	case "stale":
		return "fwd=stale"
	}
	return "hit"
}
