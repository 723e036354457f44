package tier

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weir/loader/lb"
)

// socket is an address that is listened on. It stays open through reloads that
// name it, whatever else they change.
type socket struct {
	net.Listener
	tier   *Tier
	ends   atomic.Pointer[ends]
	closed atomic.Bool
}

// listen binds an address. It need not be one of this host's yet: VIPs come and
// go.
func (t *Tier) listen(a netip.AddrPort) (*socket, error) {
	conf := net.ListenConfig{Control: freebind, KeepAliveConfig: net.KeepAliveConfig{Enable: true}}
	l, err := conf.Listen(context.Background(), "tcp", a.String())
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", a, err)
	}
	return &socket{Listener: l, tier: t}, nil
}

func freebind(network, _ string, c syscall.RawConn) error {
	level, option := unix.IPPROTO_IP, unix.IP_FREEBIND
	if network == "tcp6" || network == "udp6" {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_FREEBIND
	}
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, 1) })
	return errors.Join(err, failed)
}

// accept serves connections until the socket closes.
func (s *socket) accept() {
	for pause := time.Duration(0); ; {
		c, err := s.Accept()
		if s.closed.Load() {
			if err == nil {
				_ = c.Close()
			}
			return
		}
		if err != nil { // out of files or memory: others may close some
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
			continue
		}
		pause = 0
		e := s.ends.Load()
		if most := e.listener.Limits.Connections; most > 0 {
			e.await(int64(most))
		}
		go e.serve(c) // drain waits for it
	}
}

// await waits until there are fewer connections than most.
func (e *ends) await(most int64) {
	for e.open.Load() >= most && e.tier.ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}

// retire closes the socket; its connections go on.
func (s *socket) retire() {
	if !s.closed.Swap(true) {
		_ = s.Close() // nobody is told of what does not listen any more
	}
}

// makeSockets binds what is not bound yet, and makes the ends of listeners.
func (d *draft) makeSockets(c lb.HTTP) error {
	for _, l := range c.Listeners {
		e, err := d.ends(l)
		if err != nil {
			return err
		}
		for _, a := range l.Addresses {
			s, err := take(d, d.tier.parts.sockets, d.next.sockets, a.String(), nil,
				func() (*socket, error) { return d.tier.listen(a) }, (*socket).retire)
			if err != nil {
				return fmt.Errorf("listener %s: %w", l.Name, err)
			}
			d.attach = append(d.attach, func() { s.ends.Store(e) })
		}
		if err := d.makeQUIC(l, e); err != nil {
			return err
		}
	}
	return nil
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
