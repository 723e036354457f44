package tier

import (
	"context"
	"crypto/tls"
	"errors"
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

	open  atomic.Int64 // connections
	mu    sync.Mutex
	conns map[netip.Addr]int // by client, where that is limited
}

func (t *Tier) newEnds(l lb.Listener, store *certs.Store) *ends {
	front := &front{tier: t, listener: l.Name}
	e := &ends{
		tier: t, listener: l, front: front, conns: map[netip.Addr]int{},
		h1: h1.NewServer(h1.Options{
			Handler: front, Head: l.Limits.HeaderBytes, Fields: l.Limits.HeaderFields, Connect: l.Connect,
			Idle: l.Timeouts.Idle, Header: l.Timeouts.Header, Body: l.Timeouts.Body, Write: l.Timeouts.Write,
			Refused: t.refuse,
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
func (e *ends) serve(c net.Conn) {
	e.open.Add(1)
	defer e.open.Add(-1)
	client := &exchange.Client{Listener: e.listener.Name, Remote: addrPort(c.RemoteAddr()), Local: addrPort(c.LocalAddr())}
	if !e.enter(client.Remote.Addr()) {
		_ = c.Close()
		return
	}
	defer e.leave(client.Remote.Addr())
	if e.config == nil {
		e.h1.Serve(c, client)
		return
	}
	secure, err := e.handshake(c)
	if err != nil {
		e.tier.refused.handshake.Add(1)
		_ = c.Close()
		return
	}
	state := secure.ConnectionState()
	client.TLS = &state
	if state.NegotiatedProtocol == "h2" {
		e.h2.Serve(e.tier.ctx, secure, client, nil)
		return
	}
	e.h1.Serve(secure, client)
}

const plainOnTLS = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nThis port speaks HTTPS.\n"

func (e *ends) handshake(c net.Conn) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(e.tier.ctx, e.listener.Timeouts.Handshake)
	defer cancel()
	secure := tls.Server(c, e.config)
	err := secure.HandshakeContext(ctx)
	var header tls.RecordHeaderError
	if errors.As(err, &header) && header.Conn != nil && looksLikeHTTP(header.RecordHeader[:]) {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = header.Conn.Write([]byte(plainOnTLS)) // whoever cannot be told is closed all the same
	}
	return secure, err
}

// looksLikeHTTP tells the begin of a request line.
func looksLikeHTTP(b []byte) bool {
	for _, c := range b {
		if c != ' ' && c != '/' && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// enter counts a connection of a client; false is one too many.
func (e *ends) enter(a netip.Addr) bool {
	most := e.listener.Limits.PerClient
	if most == 0 {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns[a] >= most {
		return false
	}
	e.conns[a]++
	return true
}

func (e *ends) leave(a netip.Addr) {
	if e.listener.Limits.PerClient == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns[a]--; e.conns[a] == 0 {
		delete(e.conns, a)
	}
}

// drain lets requests under way end, for as long as the listener says, and
// breaks off what is left.
func (e *ends) drain() {
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

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
