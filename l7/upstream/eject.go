package upstream

import (
	"math"
	"sync/atomic"
	"time"
)

// record is how a backend has answered (Envoy's outlier detection).
type record struct {
	errors  atomic.Int32  // 5xx, resets and timeouts in a row
	gateway atomic.Int32  // 502, 503, 504, resets and timeouts in a row
	counts  atomic.Uint64 // of this interval: requests in the upper half, successes in the lower

	out   atomic.Bool // ejected
	until time.Time   // guarded by Pool.mu
	times int         // ejections in a row, the same
}

func (r *record) ejected() bool { return r.out.Load() }

// result is how one request went.
type result uint8

const (
	succeeded     result = iota
	failed               // 5xx but
	gatewayFailed        // 502, 503, 504; no answer
)

func resultOf(status int) result {
	switch {
	case status < 500:
		return succeeded
	case status >= 502 && status <= 504:
		return gatewayFailed
	}
	return failed
}

// observe counts a result, and ejects the backend if it is one too many.
func (p *Pool) observe(e *endpoint, r result) {
	if p.o.Ejection.Rate.Hosts > 0 {
		count := uint64(1) << 32
		if r == succeeded {
			count++
		}
		e.counts.Add(count)
	}
	switch r {
	case succeeded:
		reset(&e.errors)
		reset(&e.gateway)
		return
	case failed:
		reset(&e.gateway)
	case gatewayFailed:
		p.reached(e, &e.gateway, p.o.Ejection.Gateway)
	}
	p.reached(e, &e.errors, p.o.Ejection.Errors)
}

// reset writes only if that changes something: all cores share the line.
func reset(n *atomic.Int32) {
	if n.Load() != 0 {
		n.Store(0)
	}
}

func (p *Pool) reached(e *endpoint, n *atomic.Int32, limit int) {
	if n.Add(1) >= int32(limit) && limit > 0 {
		n.Store(0)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.eject(e, time.Now())
	}
}

// eject takes a backend out for a time that grows with each ejection in a row,
// unless too many are out. Pool.mu is held.
func (p *Pool) eject(e *endpoint, now time.Time) {
	if e.ejected() || e.gone.Load() {
		return
	}
	out := 0
	for _, other := range p.all {
		if other.ejected() {
			out++
		}
	}
	most := max(1, len(p.all)*p.o.Ejection.Percent/100)
	if out >= most || len(p.all) < 2 { // the last one stays, whatever it answers
		return
	}
	e.times++
	e.until = now.Add(min(p.o.Ejection.Base*time.Duration(e.times), p.o.Ejection.Longest))
	e.out.Store(true)
	_ = p.replace(p.targets) // of the same targets, which have made a set before
}

// readmit takes backends in again whose time is over.
func (p *Pool) readmit(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	changed := false
	for _, e := range p.all {
		if e.ejected() && now.After(e.until) {
			e.out.Store(false)
			changed = true
		}
	}
	if changed {
		_ = p.replace(p.targets)
	}
}

// judge compares how often backends succeeded in the interval that ends now, and
// lets those that behaved forget an ejection.
func (p *Pool) judge(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rate := p.o.Ejection.Rate
	var judged []*endpoint
	var rates []float64
	for _, e := range p.all {
		if !e.ejected() && e.times > 0 && now.Sub(e.until) >= p.o.Ejection.Interval {
			e.times--
			e.until = now
		}
		counts := e.counts.Swap(0)
		if requests := counts >> 32; rate.Hosts > 0 && requests > 0 && requests >= uint64(rate.Requests) && !e.ejected() {
			judged = append(judged, e)
			rates = append(rates, float64(counts&math.MaxUint32)/float64(requests))
		}
	}
	if rate.Hosts == 0 || len(judged) < rate.Hosts {
		return
	}
	least := threshold(rates, float64(rate.Factor)/1000)
	for i, e := range judged {
		if rates[i] < least {
			p.eject(e, now)
		}
	}
}

// threshold is factor standard deviations below the mean.
func threshold(rates []float64, factor float64) float64 {
	var sum, squares float64
	for _, r := range rates {
		sum += r
	}
	mean := sum / float64(len(rates))
	for _, r := range rates {
		squares += (r - mean) * (r - mean)
	}
	return mean - factor*math.Sqrt(squares/float64(len(rates)))
}
