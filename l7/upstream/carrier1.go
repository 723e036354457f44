package upstream

import (
	"net/http"
	"slices"
	"time"

	"weir/l7/exchange"
	"weir/l7/h1"
)

// carrier1 sends requests over HTTP/1.1.
type carrier1 struct {
	pool   *Pool
	dialer *h1.Dialer
}

func newCarrier1(p *Pool) *carrier1 {
	return &carrier1{pool: p, dialer: h1.NewDialer(p.o.Client)}
}

// conn is a connection to a backend.
type conn struct {
	*h1.Client
	e        *endpoint
	born     int64  // the pool's tick
	since    int64  // tick since when it is idle
	released func() // of release, made once
}

func (c *carrier1) serve(x *exchange.Exchange, e *endpoint) (func(), *h1.Failure) {
	for {
		cn := c.pool.idle(e)
		fresh := cn == nil
		if fresh {
			var err error
			if cn, err = c.dial(x, e); err != nil {
				e.end()
				return nil, &h1.Failure{Err: err}
			}
		} else if !repeatable(x.Request.Method) && !cn.Conn().Alive() {
			_ = cn.Close() // it would be known too late to send the request again
			continue
		}
		failure := cn.Do(x)
		if failure == nil {
			return cn.released, nil
		}
		stale := !fresh && !failure.Answered && !failure.Client && !failure.Timeout()
		cn.Finish()
		if stale && repeatable(x.Request.Method) && x.Request.Body == nil {
			continue // the backend had closed it, which is no fault
		}
		e.end()
		return nil, failure
	}
}

// repeatable tells the methods whose requests do no more if they are sent twice
// (RFC 9110, 9.2.2).
func repeatable(method []byte) bool {
	switch string(method) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete, http.MethodTrace:
		return true
	}
	return false
}

func (c *carrier1) dial(x *exchange.Exchange, e *endpoint) (*conn, error) {
	nc, err := c.pool.dial(x, e.Addr)
	if err != nil {
		return nil, err
	}
	cn := &conn{Client: c.dialer.Client(nc), e: e, born: c.pool.tick.Load()}
	cn.released = cn.release
	return cn, nil
}

// release ends an exchange and keeps the connection, if it can be used again.
func (c *conn) release() {
	if c.Finish() {
		c.e.pool.keep(c)
	}
	c.e.end()
}

// idle takes an idle connection to e, the one that was used last.
func (p *Pool) idle(e *endpoint) *conn {
	oldest := p.tick.Load() - int64(p.o.Connections.IdleFor/time.Second)
	e.mu.Lock()
	defer e.mu.Unlock()
	last := len(e.idle) - 1
	if last < 0 || e.idle[last].since < oldest {
		return nil // sweep closes them
	}
	c := e.idle[last]
	e.idle[last] = nil
	e.idle = e.idle[:last]
	return c
}

// keep makes c idle, or closes it.
func (p *Pool) keep(c *conn) {
	o := &p.o.Connections
	now := p.tick.Load()
	worn := p.o.ProxyProtocol > 0 || o.Requests > 0 && c.Used() >= o.Requests ||
		o.Age > 0 && now-c.born >= int64(o.Age/time.Second)
	c.since = now
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if worn || c.e.gone.Load() || len(c.e.idle) >= o.Idle {
		_ = c.Close()
		return
	}
	c.e.idle = append(c.e.idle, c)
}

func (c *carrier1) sweep(e *endpoint) {
	oldest := c.pool.tick.Load() - int64(c.pool.o.Connections.IdleFor/time.Second)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.idle = slices.DeleteFunc(e.idle, func(cn *conn) bool {
		if cn.since >= oldest && (cn.Conn().Alive() || cn.since == c.pool.tick.Load()) {
			return false
		}
		_ = cn.Close()
		return true
	})
}

func (c *carrier1) drop(e *endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, cn := range e.idle {
		_ = cn.Close()
	}
	e.idle = nil
}
