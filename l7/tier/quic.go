package tier

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"weir/l7/exchange"
	"weir/l7/h3"
	"weir/loader/lb"
)

// quicSocket is a UDP address that speaks HTTP/3. Its bounds stay those that
// it was made with; certificates follow reloads.
type quicSocket struct {
	packets net.PacketConn
	end     *h3.End
	ends    atomic.Pointer[ends]
}

func (t *Tier) listenQUIC(a netip.AddrPort, first *ends) (*quicSocket, error) {
	conf := net.ListenConfig{Control: freebindUDP}
	packets, err := conf.ListenPacket(context.Background(), "udp", a.String())
	if err != nil {
		return nil, fmt.Errorf("listen on %s/udp: %w", a, err)
	}
	s := &quicSocket{packets: packets}
	s.ends.Store(first)
	config := &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c := s.ends.Load().config
		if c.GetConfigForClient != nil {
			return c.GetConfigForClient(hello)
		}
		return c, nil
	}}
	l := first.listener
	s.end, err = h3.New(h3.Options{
		Listener: l.Name, MaxStreams: int64(l.Limits.Streams), MaxHeaderBytes: l.Limits.HeaderBytes, IdleTimeout: l.Timeouts.Idle, Handshake: l.Timeouts.Handshake,
	}, packets, config, exchange.HandlerFunc(func(x *exchange.Exchange) { s.ends.Load().front.Serve(x) }))
	if err != nil {
		return nil, errors.Join(err, packets.Close())
	}
	return s, nil
}

// freebindUDP lets a VIP be bound that is not an address of this host yet.
func freebindUDP(network, _ string, c syscall.RawConn) error {
	level, option := unix.IPPROTO_IP, unix.IP_FREEBIND
	if network == "udp6" {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_FREEBIND
	}
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, 1) })
	return errors.Join(err, failed)
}

func (s *quicSocket) serve(t *Tier) {
	if err := s.end.Serve(); err != nil && t.ctx.Err() == nil {
		t.log.Error("HTTP/3 ended", "address", s.packets.LocalAddr().String(), "error", err)
	}
}

// stop lets requests under way end and closes the socket.
func (s *quicSocket) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), s.ends.Load().listener.Timeouts.Drain)
	defer cancel()
	_ = errors.Join(s.end.Shutdown(ctx), s.packets.Close()) // there is nothing left to do about it
}

func (d *draft) makeQUIC(l lb.Listener, e *ends) error {
	if !l.HTTP3 {
		return nil
	}
	for _, a := range l.Addresses {
		s, err := take(d, d.tier.parts.quic, d.next.quic, a.String(), nil,
			func() (*quicSocket, error) { return d.tier.listenQUIC(a, e) }, (*quicSocket).stop)
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
		d.attach = append(d.attach, func() { s.ends.Store(e) })
	}
	return nil
}

// altSvc announces HTTP/3 (RFC 7838). Answers that are prebuilt for HTTP/1.1 go
// out as they are: who can speak HTTP/3 speaks HTTP/2 too.
func altSvc(port uint16, next exchange.Handler) exchange.Handler {
	text := []byte(`h3=":` + strconv.Itoa(int(port)) + `"; ma=86400`)
	return exchange.HandlerFunc(func(x *exchange.Exchange) {
		next.Serve(x)
		if x.Response.Prebuilt == nil || x.Request.Protocol == exchange.HTTP2 {
			x.Response.Header.AddKnown(exchange.AltSvc, text)
		}
	})
}
