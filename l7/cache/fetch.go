package cache

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"weir/l7/exchange"
	"weir/l7/validator"
)

// longest is how long a request that is not any client's own may take.
const longest = 5 * time.Minute

// fetch is a request of the cache's own: it outlives the client that caused it.
type fetch struct {
	x       *exchange.Exchange
	cancel  context.CancelFunc
	timeout *time.Timer
}

// newFetch copies a request, without what asks for less than the whole answer.
// inform is nil if nobody can be told of interim responses.
func newFetch(x *exchange.Exchange, inform bool) *fetch {
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.Context()))
	limit := longest
	if deadline, ok := x.Context().Deadline(); ok {
		limit = time.Until(deadline)
	}
	q := &x.Request
	own := &exchange.Exchange{
		Client: x.Client, Began: x.Began, Route: x.Route, ID: bytes.Clone(x.ID), Source: x.Source, Trusted: x.Trusted,
		Deadline: x.Deadline, Answer: x.Answer, TunnelIdle: x.TunnelIdle,
	}
	own.Request = exchange.Request{
		Protocol: q.Protocol, Method: []byte(http.MethodGet), Target: bytes.Clone(q.Target),
		Authority: bytes.Clone(q.Authority), Path: bytes.Clone(q.Path), Query: bytes.Clone(q.Query),
	}
	for _, f := range q.Header.Fields() {
		switch f.ID {
		case exchange.Range, exchange.IfRange, exchange.IfNoneMatch, exchange.IfModifiedSince:
			continue
		}
		own.Request.Header.Append(f.ID, bytes.Clone(f.Text), bytes.Clone(f.Value))
	}
	if inform {
		own.Inform = x.Inform
	}
	own.SetContext(ctx)
	f := &fetch{x: own, cancel: cancel, timeout: time.AfterFunc(limit, cancel)}
	own.After(func() {
		f.timeout.Stop()
		cancel()
	})
	return f
}

// again makes it ready to be sent once more.
func (f *fetch) again() {
	f.x.Response.Header.Reset()
	if f.x.Response.Body != nil {
		_ = f.x.Response.Body.Close() // of a 304: nothing is lost
	}
	f.x.Response = exchange.Response{Header: f.x.Response.Header}
	f.x.Failure = ""
}

// validates adds the preconditions that validate an entry (RFC 9111, 4.3.1).
func (f *fetch) validates(e *entry) bool {
	h := &f.x.Request.Header
	if e == nil || e.of.ETag == nil && e.of.Modified.IsZero() {
		return false
	}
	if e.of.ETag != nil {
		h.AddKnown(exchange.IfNoneMatch, e.of.ETag)
	}
	if !e.of.Modified.IsZero() {
		h.AddKnown(exchange.IfModifiedSince, validator.AppendDate(nil, e.of.Modified))
	}
	return true
}

func (f *fetch) validatesNot() {
	f.x.Request.Header.DelKnown(exchange.IfNoneMatch)
	f.x.Request.Header.DelKnown(exchange.IfModifiedSince)
}

// give makes the fetch's response that of the client's exchange, and the
// fetch's fate the client's.
func (f *fetch) give(x *exchange.Exchange) {
	f.timeout.Stop()
	f.x.Deadline = x.Deadline
	f.x.SetGone(x.Asker())
	stop := context.AfterFunc(x.Context(), f.cancel)
	f.tell(x)
	x.Response = f.x.Response
	x.After(func() {
		stop()
		f.x.End()
	})
}

// tell hands over what handlers found out.
func (f *fetch) tell(x *exchange.Exchange) {
	x.Pool, x.Backend, x.Attempts, x.Failure = f.x.Pool, f.x.Backend, f.x.Attempts, f.x.Failure
}

// run asks the origin and stores what it answers, as far as that may be. The
// outcome has no entry if the answer is in the fetch's own response; then, and
// only then, the caller must end the fetch.
func (h *handler) run(fl *flight, key string, f *fetch, a *asked) outcome {
	conditional := f.validates(a.entry)
	sent := time.Now()
	h.next.Serve(f.x)
	if conditional && f.x.Response.Status == http.StatusNotModified && f.x.Failure == "" {
		if out, ok := h.validated(f, fl, a, sent); ok {
			f.x.End()
			return out
		}
		// It is about something else: RFC 9111, 4.3.4 lets it update nothing.
		f.again()
		f.validatesNot()
		sent = time.Now()
		h.next.Serve(f.x)
	}
	f.timeout.Stop() // a body that others may read too takes as long as it takes
	f.x.Deadline = time.Time{}
	r := &f.x.Response
	if failed(r.Status) && a.entry.helps(time.Now().UnixNano(), &a.client) {
		out := outcome{entry: a.entry, n: note{fwd: a.why, fwdStatus: r.Status, detail: "stale-if-error"}}
		f.x.End()
		h.cache.stats.staleOnError.Add(1)
		return out
	}
	if f.x.Failure != "" {
		return outcome{failed: r.Status, why: f.x.Failure, n: note{fwd: a.why}}
	}
	return h.received(fl, key, f, a, sent)
}

// failed are the statuses that RFC 5861 calls an error.
func failed(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// validated updates the entry by a 304; ok is false if that is about another.
func (h *handler) validated(f *fetch, fl *flight, a *asked, sent time.Time) (outcome, bool) {
	header := &f.x.Response.Header
	if !a.entry.updates(header) {
		return outcome{}, false
	}
	newer, storable := h.policy.freshened(a.entry, header, f.x.Request.Header.Has(exchange.Authorization), sent, time.Now())
	if newer == nil {
		return outcome{}, false
	}
	h.cache.stats.validated.Add(1)
	n := note{fwd: a.why, fwdStatus: http.StatusNotModified}
	switch {
	case !storable:
		h.cache.forget(a.url, a.entry)
	case !fl.stale.Load():
		h.cache.replace(a.url, a.entry, newer)
		n.stored = true
	}
	return outcome{entry: newer, n: n}, true
}

// received begins to store a whole answer, or leaves it to its client.
func (h *handler) received(fl *flight, key string, f *fetch, a *asked, sent time.Time) outcome {
	r := &f.x.Response
	n := note{fwd: a.why}
	e, ok := h.storable(f.x, r, a, sent)
	if !ok {
		h.unshared(a, r.Status)
		return outcome{n: n}
	}
	n.stored = true
	out := outcome{entry: e, n: n, own: h.policy.own(&r.Header), aged: r.Header.Has(exchange.Age)}
	if r.Body == nil || r.Length == 0 {
		h.land(fl, key, a.url, e, []byte{})
		f.x.End()
		return out
	}
	out.fill = h.cache.fill(r, func(body []byte) {
		h.land(fl, key, a.url, e, body)
		f.x.End()
	})
	if out.fill == nil { // too much arrives at once
		return outcome{n: note{fwd: a.why}}
	}
	out.fill.behind = h.cache.spawn
	return out
}

// unshared notes that requests need not wait for each other. The note is
// renewed when half of its time is over, as this may be asked for often.
func (h *handler) unshared(a *asked, status int) {
	until := time.Now().Add(h.policy.Pass).UnixNano()
	if failed(status) || a.stored != nil && until-a.stored.pass < int64(h.policy.Pass)/2 {
		return
	}
	h.cache.store.passUntil(a.url, until)
}

// land ends a flight, with the whole body or with nil.
func (h *handler) land(fl *flight, key, url string, e *entry, body []byte) {
	if body != nil && !fl.stale.Load() {
		h.cache.put(url, e.whole(body), h.policy.Variants)
	}
	h.cache.flights.leave(key, fl)
}

// storable makes the entry of an answer that may be stored.
func (h *handler) storable(x *exchange.Exchange, r *exchange.Response, a *asked, sent time.Time) (*entry, bool) {
	j, ok := h.policy.judge(r, x.Request.Header.Has(exchange.Authorization), sent, time.Now())
	if !ok || r.Length > h.cache.MaxObject {
		return nil, false
	}
	e := h.policy.newEntry(x, r, j, a.extra)
	return e, e != nil
}
