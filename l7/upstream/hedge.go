package upstream

import (
	"sync/atomic"
	"time"

	"weir/l7/exchange"
)

// race is one request that is sent to two backends.
type race struct {
	pool    *Pool
	x       *exchange.Exchange
	over    atomic.Bool // nobody waits for those that are under way
	picked  atomic.Int32
	results chan *exchange.Exchange
	running int
}

// lookAfter is how often the client is asked whether it waits still.
const lookAfter = 2 * time.Second

// hedged serves x by the first of two answers, if the first is late. It reports
// false if x is no request for that: it does the same if sent twice, and
// nothing of it has to be kept.
func (p *Pool) hedged(x *exchange.Exchange) bool {
	if !repeatable(x.Request.Method) || x.Request.Body != nil || x.Request.Header.Has(exchange.Upgrade) ||
		len(p.set.Load().endpoints) < 2 {
		return false
	}
	r := &race{pool: p, x: x, results: make(chan *exchange.Exchange, 2)}
	r.picked.Store(-1)
	r.start(nil)
	late := time.NewTimer(p.o.Hedge)
	defer late.Stop()
	look := time.NewTicker(lookAfter)
	defer look.Stop()
	for {
		select {
		case c := <-r.results:
			r.running--
			if c.Failure == "" || r.running == 0 {
				r.win(c)
				return true
			}
			c.End() // the other may do better
		case <-late.C:
			if picked := int(r.picked.Load()); picked >= 0 && p.affordable() {
				x.After(func() { p.retries.Add(-1) })
				r.start([]int{picked})
			}
		case <-look.C:
			if x.Gone() {
				r.over.Store(true)
			}
		}
	}
}

// start sends a copy to a backend other than those to avoid.
func (r *race) start(avoid []int) {
	c := copyOf(r.x)
	c.SetGone(r.over.Load)
	r.running++
	go func() {
		r.pool.serve(c, avoid, &r.picked)
		r.results <- c
	}()
}

// win makes c's answer that of the client's request. The loser is ended when
// it is there.
func (r *race) win(c *exchange.Exchange) {
	x := r.x
	header := x.Response.Header
	header.Reset()
	x.Response = c.Response
	x.Backend, x.Attempts, x.Failure = c.Backend, x.Attempts+c.Attempts, c.Failure
	x.After(c.End)
	if r.over.Store(true); r.running > 0 {
		x.Attempts++
		go func() { (<-r.results).End() }()
	}
}
