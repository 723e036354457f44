// Package listen accepts the connections of clients: it bounds how many there
// are, learns whom a proxy speaks for, and does TLS, before a protocol's end
// serves them.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weir/l7/exchange"
	"weir/l7/stream"
)

// Options are the settings of a Listener. Set changes them for the connections
// that follow.
type Options struct {
	Name        string         // the listener's in the configuration
	Proxy       []netip.Prefix // peers that must begin with a PROXY header; of others it is malformed HTTP
	Connections int            // at once, 0: any
	PerClient   int            // of one address at once, 0: any
	Handshake   time.Duration  // for PROXY header and TLS together; 10 s
	// Secure does TLS; nil: plain. See TLS.
	Secure func(context.Context, net.Conn) (net.Conn, *tls.ConnectionState, error)
	// Serve serves a connection until it is over and closes it. protocol is what
	// TLS negotiated ("h2"), "" if nothing was. It must be given.
	Serve func(c net.Conn, client *exchange.Client, protocol string)
	// Refused is told of connections that are not served; nil: nobody is.
	Refused func(remote netip.AddrPort, err error)
}

// Listener is one address on which connections are accepted.
type Listener struct {
	options atomic.Pointer[Options]
	l       *net.TCPListener
	served  sync.WaitGroup
	open    atomic.Int64
	clients clients
}

// Reasons for which connections are refused.
var (
	ErrConnections = errors.New("as many connections as there may be")
	ErrPerClient   = errors.New("as many connections of this client as there may be")
	ErrPlain       = errors.New("plain HTTP where TLS is spoken")
)

// New listens on an address and serves what it accepts until Close. The
// address need not be one of this host yet: VIPs come and go. An unspecified
// IPv6 address takes IPv4 too.
func New(addr netip.AddrPort, o Options) (*Listener, error) {
	config := net.ListenConfig{Control: freebind}
	nl, err := config.Listen(context.Background(), "tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("listener %s: %w", o.Name, err)
	}
	l := &Listener{l: nl.(*net.TCPListener)}
	l.Set(o)
	l.served.Go(l.accept)
	return l, nil
}

func freebind(network, _ string, raw syscall.RawConn) error {
	var err error
	set := func(fd uintptr) {
		if network == "tcp6" {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
		} else {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1)
		}
	}
	return errors.Join(raw.Control(set), err)
}

// Set changes the options. Connections that are open keep theirs.
func (l *Listener) Set(o Options) {
	if o.Handshake == 0 {
		o.Handshake = 10 * time.Second
	}
	if o.Refused == nil {
		o.Refused = func(netip.AddrPort, error) {}
	}
	l.options.Store(&o)
}

// Addr is the address with the port, also if that was 0.
func (l *Listener) Addr() netip.AddrPort { return l.l.Addr().(*net.TCPAddr).AddrPort() }

// Open is how many connections there are.
func (l *Listener) Open() int { return int(l.open.Load()) }

// Close stops accepting. Connections go on; those that are in the backlog are
// accepted yet by another listener of the address or reset by the kernel.
func (l *Listener) Close() error { return l.l.Close() }

// Wait waits until Close was called and all connections have ended, or ctx has.
func (l *Listener) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		l.served.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d connections are still open: %w", l.Open(), ctx.Err())
	}
}

// Bounds of the pause after accepting has failed, which is mostly for want of
// file descriptors.
const (
	shortestPause = 5 * time.Millisecond
	longestPause  = time.Second
)

func (l *Listener) accept() {
	pause := shortestPause
	for {
		c, err := l.l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			l.options.Load().Refused(netip.AddrPort{}, fmt.Errorf("accept: %w", err))
			time.Sleep(pause)
			pause = min(2*pause, longestPause)
			continue
		}
		pause = shortestPause
		l.open.Add(1)
		l.served.Go(func() {
			defer l.open.Add(-1)
			l.serve(l.options.Load(), stream.New(c))
		})
	}
}

// serve prepares a connection and has it served.
func (l *Listener) serve(o *Options, c *stream.Conn) {
	remote := c.RemoteAddrPort()
	if o.Connections > 0 && l.open.Load() > int64(o.Connections) {
		turnAway(o, c, remote, ErrConnections)
		return
	}
	client := &exchange.Client{Listener: o.Name, Remote: remote, Local: c.LocalAddrPort()}
	ctx, cancel := context.WithTimeout(context.Background(), o.Handshake)
	defer cancel()
	if contains(o.Proxy, remote.Addr()) {
		if err := readProxy(ctx, c, client); err != nil {
			refuse(o, c, remote, err)
			return
		}
	}
	if !l.clients.enter(client.Remote.Addr(), o.PerClient) {
		turnAway(o, c, client.Remote, ErrPerClient)
		return
	}
	defer l.clients.leave(client.Remote.Addr(), o.PerClient)
	if o.Secure == nil {
		cancel() // its timer is not needed any more
		o.Serve(c, client, "")
		return
	}
	secured, state, err := o.Secure(ctx, c)
	if err != nil {
		refuse(o, c, client.Remote, err)
		return
	}
	cancel()
	client.TLS = state
	o.Serve(secured, client, state.NegotiatedProtocol)
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func refuse(o *Options, c net.Conn, remote netip.AddrPort, err error) {
	_ = c.Close() // it is given up
	o.Refused(remote, err)
}

const overloaded = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// turnAway refuses a connection that is one too many. A plain client is told,
// to do so in TLS would cost what there is too little of.
func turnAway(o *Options, c *stream.Conn, remote netip.AddrPort, err error) {
	if o.Secure == nil {
		say(c, overloaded)
	}
	refuse(o, c, remote, err)
}

// say sends a last answer to a client that does not wait for it perhaps. What
// the client has sent is read, or closing would reset the answer away.
func say(c *stream.Conn, text string) {
	now := time.Now()
	c.WriteWithin(now, time.Second)
	c.ReadBy(now.Add(100 * time.Millisecond))
	if _, err := c.Write([]byte(text)); err != nil || c.CloseWrite() != nil {
		return
	}
	var scratch [4096]byte
	for range 16 {
		if _, err := c.Read(scratch[:]); err != nil {
			return
		}
	}
}

// clients counts connections by address.
type clients struct {
	mu   sync.Mutex
	open map[netip.Addr]int
}

func (c *clients) enter(a netip.Addr, most int) bool {
	if most == 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[a] >= most {
		return false
	}
	if c.open == nil {
		c.open = map[netip.Addr]int{}
	}
	c.open[a]++
	return true
}

// leave is given the limit that enter had.
func (c *clients) leave(a netip.Addr, most int) {
	if most == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[a]--; c.open[a] == 0 {
		delete(c.open, a)
	}
}
