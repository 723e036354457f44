package tier

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"weir/l7/certs"
	"weir/l7/exchange"
	"weir/l7/h1"
	"weir/l7/h2"
	"weir/l7/listen"
	"weir/l7/stream"
	"weir/loader/lb"
)

// ends are the protocols of one listener. Connections keep theirs when a reload
// makes others.
type ends struct {
	tier     *Tier
	listener lb.Listener
	front    *front
	h1       *h1.Server
	h2       *h2.End
	config   *tls.Config // nil: plain

	open    atomic.Int64 // connections
	mu      sync.Mutex
	silent  map[*stream.Conn]struct{} // plain ones that have said nothing yet
	drained bool
}

func (t *Tier) newEnds(l lb.Listener, store *certs.Store) *ends {
	front := &front{tier: t, listener: l.Name}
	e := &ends{
		tier: t, listener: l, front: front, silent: map[*stream.Conn]struct{}{},
		h1: h1.NewServer(h1.Options{
			Handler: front, Head: l.Limits.HeaderBytes, Fields: l.Limits.HeaderFields, Connect: l.Connect,
			Idle: l.Timeouts.Idle, Header: l.Timeouts.Header, Body: l.Timeouts.Body, Write: l.Timeouts.Write,
			Requests: l.Limits.Requests, Refused: t.refuse,
		}),
		h2: h2.New(h2.Options{
			MaxStreams: uint32(l.Limits.Streams), MaxHeaderBytes: uint32(l.Limits.HeaderBytes),
			IdleTimeout: l.Timeouts.Idle, WriteTimeout: l.Timeouts.Write,
		}, front),
	}
	if store != nil {
		e.config = store.Config()
	}
	return e
}

// options are how connections are accepted that these ends serve.
func (e *ends) options() listen.Options {
	o := listen.Options{
		Name: e.listener.Name, Proxy: e.listener.Proxy, Connections: e.listener.Limits.Connections, PerClient: e.listener.Limits.PerClient,
		Handshake: e.listener.Timeouts.Handshake, Serve: e.serve, Refused: func(netip.AddrPort, error) { e.tier.refused.connections.Add(1) },
	}
	if e.config != nil {
		o.Secure = listen.TLS(func() *tls.Config { return e.config })
	}
	return o
}

// front hands requests to the generation that is in force.
type front struct {
	tier     *Tier
	listener string
}

// Serve implements exchange.Handler. A panic costs the request only.
func (f *front) Serve(x *exchange.Exchange) {
	g := f.tier.current.Load()
	x.Ended = g.ended
	defer func() {
		if v := recover(); v != nil {
			f.tier.log.Error("a request made the HTTP tier panic", "panic", v, "stack", string(debug.Stack()))
			x.Fail(http.StatusInternalServerError, "panic")
		}
	}()
	if entry := g.entries[f.listener]; entry != nil {
		entry.Serve(x)
		return
	}
	x.Source = x.Client.Remote.Addr().Unmap()
	x.Fail(http.StatusServiceUnavailable, "the listener is no longer in the configuration")
}

// serve speaks with one client until it or we are through.
func (e *ends) serve(c net.Conn, client *exchange.Client, protocol string) {
	e.open.Add(1)
	defer e.open.Add(-1)
	if protocol == "" && e.config == nil && e.listener.Protocols.H2 {
		first, err := e.preface(c)
		if err != nil && !errors.Is(err, errNotH2) {
			_ = c.Close()
			return
		}
		if first != nil {
			e.h2.Serve(e.tier.ctx, c, client, first)
			return
		}
	}
	switch {
	case protocol == "h2":
		e.h2.Serve(e.tier.ctx, c, client, nil)
	case !e.listener.Protocols.H1:
		_ = c.Close() // it speaks what this listener does not
	default:
		e.h1.Serve(c, client)
	}
}

// h2Preface is what HTTP/2 connections begin with (RFC 9113, 3.4).
const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

var errNotH2 = errors.New("not HTTP/2")

// preface takes the preface of HTTP/2 if a plain client begins with that, and
// leaves everything else where it is.
func (e *ends) preface(c net.Conn) ([]byte, error) {
	s, ok := c.(*stream.Conn)
	if !ok || !e.waits(s) {
		return nil, fmt.Errorf("%T: the listener stops", c)
	}
	defer e.spoke(s)
	s.ReadBy(time.Now().Add(e.listener.Timeouts.Idle))
	err := s.ReadPrefix(len(h2Preface)+1, func(b []byte) (int, error) {
		n := min(len(b), len(h2Preface))
		if string(b[:n]) != h2Preface[:n] {
			return 0, errNotH2
		}
		if n < len(h2Preface) {
			return 0, nil
		}
		return n, nil
	})
	s.ReadBy(time.Time{})
	if err != nil {
		return nil, err
	}
	return []byte(h2Preface), nil
}

func (e *ends) waits(c *stream.Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.drained {
		return false
	}
	e.silent[c] = struct{}{}
	return true
}

func (e *ends) spoke(c *stream.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.silent, c)
}

// drain lets requests under way end, for as long as the listener says, and
// breaks off what is left.
func (e *ends) drain() {
	e.mu.Lock()
	e.drained = true
	for c := range e.silent {
		c.Interrupt()
	}
	e.mu.Unlock()
	e.h1.Drain()
	e.h2.Shutdown()
	late := time.NewTimer(e.listener.Timeouts.Drain)
	defer late.Stop()
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for e.open.Load() > 0 {
		select {
		case <-late.C:
			e.h1.Abort()
			return
		case <-look.C:
		}
	}
}

const drainLook = 20 * time.Millisecond

// makeSockets binds what is not bound yet, and makes the ends of listeners.
func (d *draft) makeSockets(c lb.HTTP) error {
	for _, l := range c.Listeners {
		e, err := d.ends(l)
		if err != nil {
			return err
		}
		for _, a := range l.Addresses {
			s, err := take(d, d.tier.parts.sockets, d.next.sockets, a.String(), nil,
				func() (*listen.Listener, error) { return listen.New(a, d.waiting(e)) }, closeListener)
			if err != nil {
				return err
			}
			d.attach = append(d.attach, func() { s.Set(e.options()) })
		}
		if err := d.makeQUIC(l, e); err != nil {
			return err
		}
	}
	return nil
}

// closeListener stops accepting; connections go on.
func closeListener(l *listen.Listener) { _ = l.Close() } // it is not listened on any more either way

// waiting are the options of a socket before its configuration is in force: who
// connects waits for that.
func (d *draft) waiting(e *ends) listen.Options {
	o := e.options()
	o.Serve = func(c net.Conn, client *exchange.Client, protocol string) {
		if <-d.decided; d.committed {
			e.serve(c, client, protocol)
			return
		}
		_ = c.Close()
	}
	return o
}

// endSettings are what ends are made of. A store is told by its address:
// comparing what is in it makes no sense.
type endSettings struct {
	listener lb.Listener
	store    string
}

// ends gives a listener the ends that it has, if they need no change.
func (d *draft) ends(l lb.Listener) (*ends, error) {
	store := d.storeOf(l)
	s := endSettings{l, fmt.Sprintf("%p", store)}
	s.listener.Addresses, s.listener.Trusted, s.listener.Limits.BodyBytes = nil, nil, 0 // others' business
	return take(d, d.tier.parts.ends, d.next.ends, l.Name, s,
		func() (*ends, error) { return d.tier.newEnds(l, store), nil }, func(*ends) {})
}
