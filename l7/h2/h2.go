// Package h2 is the HTTP/2 end (RFC 9113). The frames are golang.org/x/net's;
// only this package knows that.
package h2

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/http2"

	"weir/l7/exchange"
	"weir/l7/nethttp"
)

// Options bound what one connection may ask for. The zero value of each stands
// for the default that its comment names.
type Options struct {
	MaxStreams     uint32        // at once; 128
	MaxHeaderBytes int           // of a request, uncompressed; 64 KiB
	StreamWindow   int32         // bytes of a request's body that may wait to be read; 256 KiB
	IdleTimeout    time.Duration // without a stream; 2 minutes
	PingAfter      time.Duration // of silence, and then again the same until the connection is given up; 30 s
	WriteTimeout   time.Duration // without progress of what is to be sent; 30 s
}

func (o Options) withDefaults() Options {
	if o.MaxStreams == 0 {
		o.MaxStreams = 128
	}
	if o.MaxHeaderBytes == 0 {
		o.MaxHeaderBytes = 64 << 10
	}
	if o.StreamWindow == 0 {
		o.StreamWindow = 256 << 10
	}
	for d, def := range map[*time.Duration]time.Duration{
		&o.IdleTimeout: 2 * time.Minute, &o.PingAfter: 30 * time.Second, &o.WriteTimeout: 30 * time.Second,
	} {
		if *d == 0 {
			*d = def
		}
	}
	return o
}

// minWindow is the connection's window that the protocol begins with, bytes.
const minWindow = 1<<16 - 1

// End serves connections with one handler. Its methods may be called from any
// goroutine.
type End struct {
	base    *http.Server
	frames  *http2.Server
	handler exchange.Handler
}

// New makes an end; it owns no goroutine.
func New(o Options, h exchange.Handler) (*End, error) {
	o = o.withDefaults()
	e := &End{
		handler: h,
		base: &http.Server{
			MaxHeaderBytes: o.MaxHeaderBytes,
			ErrorLog:       log.New(io.Discard, "", 0), // what clients do wrong is counted, not logged
		},
		frames: &http2.Server{
			MaxConcurrentStreams:         o.MaxStreams,
			MaxUploadBufferPerStream:     o.StreamWindow,
			MaxUploadBufferPerConnection: max(minWindow, 4*o.StreamWindow),
			IdleTimeout:                  o.IdleTimeout,
			ReadIdleTimeout:              o.PingAfter,
			PingTimeout:                  o.PingAfter,
			WriteByteTimeout:             o.WriteTimeout,
		},
	}
	if err := http2.ConfigureServer(e.base, e.frames); err != nil {
		return nil, fmt.Errorf("HTTP/2: %w", err)
	}
	return e, nil
}

// Serve speaks HTTP/2 on a connection until it ends: one of TLS whose
// handshake is over and chose h2, or a plain one whose client is known to speak it. first are bytes
// that were read from it already. It returns when the last stream has ended,
// and closes the connection.
func (e *End) Serve(ctx context.Context, conn net.Conn, client *exchange.Client, first []byte) {
	if len(first) > 0 {
		conn = &begun{Conn: conn, first: first}
	}
	handler := nethttp.New(nethttp.Options{
		Protocol: exchange.HTTP2,
		Client:   func(*http.Request) *exchange.Client { return client },
	}, e.handler)
	e.frames.ServeConn(conn, &http2.ServeConnOpts{Context: ctx, BaseConfig: e.base, Handler: handler})
}

// Shutdown tells all clients to open no new streams (GOAWAY). It does not wait
// for the streams that are open: Serve returns when they have ended.
func (e *End) Shutdown(ctx context.Context) error { return e.base.Shutdown(ctx) }

// begun is a connection of which the first bytes have been read.
type begun struct {
	net.Conn
	first []byte
}

func (c *begun) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}
