package serve

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// Bounds of connections that are open at a time.
const (
	maxConns      = 256
	maxConnsPerIP = 16
)

// bounded closes connections over the bounds at once, so that one peer that
// opens many keeps no other out.
type bounded struct {
	net.Listener
	refused *atomic.Uint64

	mu    sync.Mutex
	all   int
	perIP map[netip.Addr]int
}

func newBounded(l net.Listener, refused *atomic.Uint64) *bounded {
	return &bounded{Listener: l, refused: refused, perIP: map[netip.Addr]int{}}
}

// Accept waits for a connection within the bounds.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ip := peer(c)
		if b.enter(ip) {
			return &counted{Conn: c, leave: sync.OnceFunc(func() { b.leave(ip) })}, nil
		}
		b.refused.Add(1)
		c.Close()
	}
}

func peer(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

func (b *bounded) enter(ip netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all == maxConns || b.perIP[ip] == maxConnsPerIP {
		return false
	}
	b.all++
	b.perIP[ip]++
	return true
}

func (b *bounded) leave(ip netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.perIP[ip]--; b.perIP[ip] == 0 {
		delete(b.perIP, ip)
	}
}

type counted struct {
	net.Conn
	leave func()
}

func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// CloseWrite tells the peer that all is said.
func (c *counted) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
