// Package h2 is the HTTP/2 end (RFC 9113): a connection's goroutine reads frames,
// each stream's serves one exchange and writes its own frames.
package h2

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"weir/l7/exchange"
)

// Options bound what one connection may ask for. The zero value of each stands
// for the default that its comment names.
type Options struct {
	MaxStreams     uint32        // at once; 128
	MaxHeaderBytes uint32        // of a request, uncompressed (RFC 9113, 6.5.2); 64 KiB
	StreamWindow   uint32        // bytes of a request's body that may wait to be read; 256 KiB
	IdleTimeout    time.Duration // without a stream; 2 minutes
	PingAfter      time.Duration // of silence, and then again the same until the connection is given up; 30 s
	WriteTimeout   time.Duration // without progress of what is to be sent; 60 s
}

func (o Options) withDefaults() Options {
	for n, def := range map[*uint32]uint32{&o.MaxStreams: 128, &o.MaxHeaderBytes: 64 << 10, &o.StreamWindow: 256 << 10} {
		if *n == 0 {
			*n = def
		}
	}
	for d, def := range map[*time.Duration]time.Duration{
		&o.IdleTimeout: 2 * time.Minute, &o.PingAfter: 30 * time.Second, &o.WriteTimeout: time.Minute,
	} {
		if *d == 0 {
			*d = def
		}
	}
	return o
}

// End serves connections with one handler. Its methods may be called from any
// goroutine.
type End struct {
	options Options
	handler exchange.Handler
	free    sync.Pool // of *stream
	dates   atomic.Pointer[dated]

	mu    sync.Mutex
	conns map[*conn]bool
	shut  bool
}

// New makes an end; it owns no goroutine.
func New(o Options, h exchange.Handler) *End {
	e := &End{options: o.withDefaults(), handler: h, conns: map[*conn]bool{}}
	e.free.New = func() any { return newStream() }
	return e
}

// Serve speaks HTTP/2 on a connection until it ends: one of TLS whose
// handshake is over and chose h2, or a plain one whose client is known to speak
// it. first are bytes that were read from it already. ctx is of all its
// exchanges. It returns when the last stream has ended, and closes the
// connection.
func (e *End) Serve(ctx context.Context, nc net.Conn, client *exchange.Client, first []byte) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newConn(ctx, e, nc, client, first)
	if !e.enter(c) {
		nc.Close()
		return
	}
	defer e.leave(c)
	c.serve()
}

func (e *End) enter(c *conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.shut {
		return false
	}
	e.conns[c] = true
	return true
}

func (e *End) leave(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, c)
}

// Shutdown tells all clients to open no new streams (GOAWAY). It does not wait
// for the streams that are open: Serve returns when they have ended.
func (e *End) Shutdown() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shut = true
	for c := range e.conns {
		go c.retire() // a client that does not read holds up only its own
	}
}
