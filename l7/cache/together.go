package cache

import (
	"net/http"
	"strconv"
	"time"

	"weir/l7/exchange"
	"weir/l7/ranges"
)

// together asks the origin once for all who ask the same meanwhile.
func (h *handler) together(x *exchange.Exchange, a *asked) {
	key := a.flightKey(&x.Request.Header)
	if a.entry != nil && a.entry.noCache {
		// Each use of it needs a validation of its own (RFC 9111, 5.2.2.4).
		key += "\x00" + strconv.FormatUint(h.cache.flights.numbers.Add(1), 10)
	}
	f, first := h.cache.flights.join(key, a.url)
	if first {
		if !h.justLanded(x, a, f, key) {
			h.lead(x, a, f, key)
		}
		return
	}
	h.cache.stats.collapsed.Add(1)
	wait := time.NewTimer(h.policy.Wait)
	defer wait.Stop()
	select {
	case <-f.done:
		h.follow(x, a, f)
	case <-x.Context().Done():
		x.Fail(http.StatusServiceUnavailable, "gave up waiting for an equal request")
	case <-wait.C:
		h.alone(x, a, note{fwd: a.why, collapsed: "; collapsed=?0"})
	}
}

// justLanded answers with what another flight stored after x looked for it and
// before x began one itself.
func (h *handler) justLanded(x *exchange.Exchange, a *asked, f *flight, key string) bool {
	now := time.Now().UnixNano()
	e := h.cache.store.get([]byte(a.url)).choose(&x.Request.Header, a.extra)
	if u, _ := e.use(now, &a.client); e == a.entry || u != give {
		return false
	}
	h.cache.flights.leave(key, f)
	f.out = outcome{entry: e, n: note{fwd: a.why}}
	close(f.done)
	x.Cache = "hit"
	h.answer(x, e, now, note{hit: true})
	return true
}

// lead asks the origin.
func (h *handler) lead(x *exchange.Exchange, a *asked, fl *flight, key string) {
	f := newFetch(x, true)
	landed := false
	defer func() {
		if !landed { // next panicked: nobody may wait for it
			h.cache.flights.leave(key, fl)
			close(fl.done)
			f.x.End()
		}
	}()
	out := h.run(fl, key, f, a)
	landed = true
	fl.out = out
	if out.fill == nil {
		h.cache.flights.leave(key, fl)
	}
	x.Cache = out.n.name()
	n := out.n
	n.own, n.ageless = out.own, n.stored && n.fwdStatus == 0 && !out.aged
	switch {
	case out.entry == nil:
		close(fl.done)
		f.give(x)
		h.mark(x, out.n)
	case out.fill == nil:
		close(fl.done)
		f.tell(x)
		h.answer(x, out.entry, time.Now().UnixNano(), n)
	default:
		f.tell(x)
		// Before the others are told, so that there is a reader at once.
		h.stream(x, out.entry, out.fill, n)
		close(fl.done)
	}
}

// follow answers with what another request brought, if that may be.
func (h *handler) follow(x *exchange.Exchange, a *asked, f *flight) {
	out, now := f.out, time.Now().UnixNano()
	n := out.n
	n.fwd, n.collapsed = a.why, "; collapsed"
	x.Cache = n.name()
	switch {
	case out.failed != 0:
		// The origin cannot be reached: asking it again for each would not help.
		if a.entry.helps(now, &a.client) {
			n.detail = "stale-if-error"
			h.answer(x, a.entry, now, n)
			return
		}
		x.Fail(out.failed, out.why)
		return
	case out.entry != nil && !f.stale.Load() && out.entry.matches(&x.Request.Header, a.extra):
		if n.detail != "" && out.entry.helps(now, &a.client) {
			h.answer(x, out.entry, now, n)
			return
		}
		if use, _ := out.entry.use(now, &a.client); use != give {
			break
		}
		if out.fill == nil {
			h.answer(x, out.entry, now, n)
			return
		}
		if h.stream(x, out.entry, out.fill, n) {
			return
		}
	}
	h.alone(x, a, note{fwd: a.why, collapsed: "; collapsed=?0"})
}

// alone asks for one client only, whose request stays as it is; the answer is
// stored if it is one to a plain request.
func (h *handler) alone(x *exchange.Exchange, a *asked, n note) {
	sent, purges := time.Now(), h.cache.purges.Load()
	q := &x.Request.Header
	plain := !q.Has(exchange.Range) && !q.Has(exchange.IfNoneMatch) && !q.Has(exchange.IfModifiedSince)
	h.next.Serve(x)
	if plain && x.Failure == "" && x.Response.Tunnel == nil {
		n.stored = h.keep(x, a, sent, purges)
	}
	h.mark(x, n)
}

// keep stores the answer of x while its client reads it, unless anything is
// purged meanwhile.
func (h *handler) keep(x *exchange.Exchange, a *asked, sent time.Time, purges uint64) bool {
	r := &x.Response
	e, ok := h.storable(x, r, a, sent)
	if !ok {
		h.unshared(a, r.Status)
		return false
	}
	if r.Body == nil || r.Length == 0 {
		return false
	}
	source := r.Body
	fill := h.cache.fill(r, func(body []byte) {
		if body != nil && h.cache.purges.Load() == purges {
			h.cache.put(a.url, e.whole(body), h.policy.Variants)
		}
		_ = source.Close() // read to its end, or given up
	})
	if fill == nil {
		return false
	}
	r.Prebuilt = nil
	r.Body = fill.reader(ranges.Range{Length: exchange.Unknown})
	return true
}

// refresh validates an entry behind the back of the client, who gets it stale.
func (h *handler) refresh(x *exchange.Exchange, a asked) {
	if !a.entry.refreshing.CompareAndSwap(false, true) {
		return
	}
	select {
	case h.cache.refreshes <- struct{}{}:
	default: // so many at once; the next request tries again
		a.entry.refreshing.Store(false)
		return
	}
	a.why = "stale"
	key := a.flightKey(&x.Request.Header)
	fl, first := h.cache.flights.join(key, a.url)
	if !first {
		a.entry.refreshing.Store(false)
		<-h.cache.refreshes
		return
	}
	f := newFetch(x, false)
	h.cache.spawn(func() {
		defer func() { <-h.cache.refreshes }()
		out := h.run(fl, key, f, &a)
		fl.out = out
		if out.fill == nil {
			h.cache.flights.leave(key, fl)
		}
		close(fl.done)
		switch {
		case out.fill != nil:
			out.fill.finish()
		case out.entry == nil:
			f.x.End()
		}
		// Where nothing new came the origin is left alone for a while.
		time.AfterFunc(refreshPause, func() { a.entry.refreshing.Store(false) })
	})
}

// refreshPause is how long after a validation in the background the next of
// the same entry may begin.
const refreshPause = time.Second
