// Package h3 is the HTTP/3 end (RFC 9114). QUIC and frames are quic-go's; only
// this package knows that.
package h3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"weir/l7/exchange"
	"weir/l7/nethttp"
)

// Options bound what one connection may ask for. The zero value of each stands
// for the default that its comment names.
type Options struct {
	Listener       string        // its name in the configuration
	MaxStreams     int64         // at once; 128
	MaxHeaderBytes int           // of a request, uncompressed; 64 KiB
	StreamWindow   uint64        // bytes of a request's body that may wait to be read; 256 KiB
	IdleTimeout    time.Duration // without a packet; 2 minutes
	Handshake      time.Duration // longest; 5 s
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
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 2 * time.Minute
	}
	if o.Handshake == 0 {
		o.Handshake = 5 * time.Second
	}
	return o
}

// halfOpen is how many handshakes may be under way before clients must prove
// their address first (Retry, RFC 9000, 8.1.2).
const halfOpen = 256

// End serves one UDP socket with one handler. Its methods may be called from
// any goroutine.
type End struct {
	server    *http3.Server
	transport *quic.Transport
	listener  *quic.EarlyListener
}

// New begins to listen on a socket, which stays the caller's. The
// configuration's ALPN is not used.
func New(o Options, socket net.PacketConn, config *tls.Config, h exchange.Handler) (*End, error) {
	o = o.withDefaults()
	e := &End{transport: &quic.Transport{Conn: socket, VerifySourceAddress: busy()}}
	settings := &quic.Config{
		HandshakeIdleTimeout: o.Handshake, MaxIdleTimeout: o.IdleTimeout,
		MaxIncomingStreams: o.MaxStreams, MaxIncomingUniStreams: 8,
		InitialStreamReceiveWindow: min(64<<10, o.StreamWindow), MaxStreamReceiveWindow: o.StreamWindow,
		InitialConnectionReceiveWindow: 2 * o.StreamWindow, MaxConnectionReceiveWindow: 4 * o.StreamWindow,
	}
	var err error
	if e.listener, err = e.transport.ListenEarly(http3.ConfigureTLSConfig(config), settings); err != nil {
		return nil, fmt.Errorf("HTTP/3: %w", err)
	}
	e.server = &http3.Server{
		MaxHeaderBytes: o.MaxHeaderBytes, IdleTimeout: o.IdleTimeout, ConnContext: withClient(o.Listener),
		Handler: nethttp.New(nethttp.Options{Protocol: exchange.HTTP3, Client: clientOf}, h),
		Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)), // what clients do wrong is counted, not logged
	}
	return e, nil
}

// busy asks clients to prove their address while many handshakes are new.
func busy() func(net.Addr) bool {
	var since time.Time
	var count int
	return func(net.Addr) bool { // called by one goroutine
		if now := time.Now(); now.Sub(since) > time.Second {
			since, count = now, 0
		}
		count++
		return count > halfOpen
	}
}

// Serve answers until Shutdown.
func (e *End) Serve() error {
	err := e.server.ServeListener(e.listener)
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, quic.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown tells clients to open no new streams (GOAWAY), and waits until those
// that are open have ended, or ctx has: then they are broken off. The socket is
// not used any more when it returns.
func (e *End) Shutdown(ctx context.Context) error {
	err := e.server.Shutdown(ctx)
	return errors.Join(err, e.server.Close(), e.listener.Close(), e.transport.Close())
}

type clientKey struct{}

// withClient remembers with each connection whose it is.
func withClient(listener string) func(context.Context, *quic.Conn) context.Context {
	return func(ctx context.Context, conn *quic.Conn) context.Context {
		state := conn.ConnectionState().TLS
		return context.WithValue(ctx, clientKey{}, &exchange.Client{
			Listener: listener, Remote: addrPort(conn.RemoteAddr()), Local: addrPort(conn.LocalAddr()), TLS: &state,
		})
	}
}

func clientOf(r *http.Request) *exchange.Client {
	return r.Context().Value(clientKey{}).(*exchange.Client)
}

func addrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := u.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}
