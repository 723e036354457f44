package upstream

import (
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"weir/l7/exchange"
	"weir/l7/h1"
)

// Serve implements exchange.Handler.
func (p *Pool) Serve(x *exchange.Exchange) {
	x.Pool = p.o.Name
	if p.o.Hedge > 0 && p.hedged(x) {
		return
	}
	p.serve(x, nil, nil)
}

// attempts are the backends that a request has been sent to.
type attempts struct {
	tried   []int // positions in set
	set     *set
	retried bool // counted in Pool.retries
}

// serve sends x until a backend answers or no retry is left. avoid are
// positions in the set that is current; picked is told the first that is asked.
func (p *Pool) serve(x *exchange.Exchange, avoid []int, picked *atomic.Int32) {
	a := attempts{tried: avoid, set: p.set.Load()}
	if !p.keepBody(x) {
		return
	}
	for {
		i, sticky := p.choose(&a, x)
		if i < 0 {
			p.unserved(x)
			break
		}
		if picked != nil {
			picked.CompareAndSwap(-1, int32(i))
		}
		e := a.set.endpoints[i]
		x.Attempts++
		x.Backend = e.Addr
		release, failure := p.carrier.serve(x, e)
		if p.settled(&a, x, e, failure) {
			if failure == nil {
				x.After(release)
				p.stick(&a, x, i, sticky)
			}
			break
		}
		if release != nil {
			drop(x, release)
		}
		a.tried = append(a.tried, i)
	}
	if a.retried {
		p.retries.Add(-1)
	}
}

// settled takes note of how an attempt went and reports whether that is the
// answer: it is good, or there is to be no retry.
func (p *Pool) settled(a *attempts, x *exchange.Exchange, e *endpoint, failure *h1.Failure) bool {
	if failure == nil {
		p.observe(e, resultOf(x.Response.Status))
		return !p.o.Retries.Status.Has(x.Response.Status) || x.Response.Tunnel != nil || !p.again(a, x, &answered)
	}
	if !failure.Client {
		p.observe(e, gatewayFailed)
		if !over(x) && p.again(a, x, failure) {
			return false
		}
	}
	status := statusOf(failure)
	if status == http.StatusBadGateway && over(x) {
		status = http.StatusGatewayTimeout // whatever was under way just then
	}
	x.Fail(status, failure.Error())
	return true
}

// over reports whether the time for a request has passed.
func over(x *exchange.Exchange) bool { return !x.Deadline.IsZero() && !time.Now().Before(x.Deadline) }

// clientGone is nginx's status for requests that nobody waited for; only logs
// show it.
const clientGone = 499

func statusOf(f *h1.Failure) int {
	switch {
	case f.Gone():
		return clientGone
	case f.Client:
		return http.StatusBadRequest
	case f.Timeout():
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

// answered stands for the failure of an answer that is not good enough.
var answered = h1.Failure{Sent: true, Taken: true}

// again reports whether x may be sent once more: within the number and budget,
// nothing of its body is lost, and no backend may have acted on it if that
// matters.
func (p *Pool) again(a *attempts, x *exchange.Exchange, f *h1.Failure) bool {
	r := &p.o.Retries
	if x.Attempts > r.Attempts || f.Sent && !repeatable(x.Request.Method) || f.Taken && !rewind(x) {
		return false
	}
	if a.retried {
		return true
	}
	a.retried = p.affordable()
	return a.retried
}

// affordable reports whether one more retry is within the budget, and counts it.
func (p *Pool) affordable() bool {
	n := p.retries.Add(1)
	if n <= int64(p.o.Retries.Least) || n*100 <= p.active()*int64(p.o.Retries.Budget) {
		return true
	}
	p.retries.Add(-1)
	return false
}

// active is how many requests are under way.
func (p *Pool) active() (n int64) {
	for _, e := range p.set.Load().endpoints {
		n += e.Active()
	}
	return n
}

// drop gives an answer up that is not to be sent on.
func drop(x *exchange.Exchange, release func()) {
	if x.Response.Body != nil {
		_ = x.Response.Body.Close() // it was not wanted
	}
	release()
	header := x.Response.Header
	header.Reset()
	x.Response = exchange.Response{Header: header}
}

// choose picks a backend and counts the request as under way there. It waits in
// the queue if all are full.
func (p *Pool) choose(a *attempts, x *exchange.Exchange) (i int, sticky bool) {
	if b := a.set.bound; b != nil {
		if i := b.Find(&x.Request.Header); i >= 0 && !slices.Contains(a.tried, i) && a.set.endpoints[i].Begin() {
			return i, true
		}
	}
	key := p.key(x)
	if i = a.set.pick(key, a.tried); i >= 0 || p.o.Connections.Max == 0 || p.o.Queue.Length == 0 || !a.set.open {
		return i, false
	}
	return p.enqueue(a, x, key), false
}

func (s *set) pick(key uint64, tried []int) int {
	if s.picker == nil {
		return -1
	}
	i := s.picker.Pick(key, tried)
	if i < 0 && len(tried) > 0 {
		i = s.picker.Pick(key, nil) // better one that failed than none
	}
	return i
}

// enqueue waits for a place, at a backend of what is then the set.
func (p *Pool) enqueue(a *attempts, x *exchange.Exchange, key uint64) int {
	i, now := -1, a.set
	p.queue.wait(x.Context(), p.o.Queue.Length, p.o.Queue.Within, func() bool {
		if current := p.set.Load(); current != now {
			now, a.tried = current, nil
		}
		i = now.pick(key, a.tried)
		return i >= 0
	})
	a.set = now
	return i
}

// FNV-1a and the finish of MurmurHash3: cheap, and alike on all nodes.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func (p *Pool) key(x *exchange.Exchange) uint64 {
	if p.o.Algorithm != "maglev" {
		return 0
	}
	h := uint64(fnvOffset) ^ p.o.Seed
	for _, c := range p.o.Key(x) {
		h = (h ^ uint64(c)) * fnvPrime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return h
}

// stick has the client keep to the backend that answered.
func (p *Pool) stick(a *attempts, x *exchange.Exchange, i int, already bool) {
	if a.set.bound != nil && !already {
		x.Response.Header.AddKnown(exchange.SetCookie, a.set.bound.SetCookie(i))
	}
}

// Reasons why no backend was asked, for Exchange.Failure.
var (
	errNoBackend = errors.New("no backend is up")
	errFull      = errors.New("all backends have as many requests as they may")
)

func (p *Pool) unserved(x *exchange.Exchange) {
	why := errNoBackend
	if p.set.Load().open {
		why = errFull
	}
	x.Fail(http.StatusServiceUnavailable, why.Error())
}
