package upstream

import (
	"sync"
	"sync/atomic"

	"weir/l7/balance"
)

// endpoint is a backend with its connections and what is known of its answers.
type endpoint struct {
	balance.Endpoint
	pool *Pool
	gone atomic.Bool // not of the pool any more
	record

	mu   sync.Mutex
	idle []*conn // last used last
	h2   transport2
}

// end counts a request as over and lets one that waits have its place.
func (e *endpoint) end() {
	e.End()
	e.pool.queue.wake()
}
