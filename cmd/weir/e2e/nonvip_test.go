package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"weir/loader/lb"
	"weir/loader/netlab"
)

func TestNonVIP(t *testing.T) {
	for _, p := range []plan{{family: 4}, {family: 6}, {forward: lb.DSR, family: 4}} {
		t.Run(p.String(), func(t *testing.T) {
			l := start(t, p)
			l.atWork(t, "before other traffic")
			l.checkNonVIP(t)
			l.checkPassed(t)
			l.atWork(t, "after other traffic")
		})
	}
}

// checkPassed: nothing of it was dropped, and it was counted as passed.
func (l *lab) checkPassed(t *testing.T) {
	t.Helper()
	s := status(t)
	if s.Totals.Dropped != 0 {
		t.Errorf("%d packets were dropped: %+v", s.Totals.Dropped, s.Reasons)
	}
	if n := metric(t, "weir_packets_total", map[string]string{"verdict": "pass", "reason": "not_vip"}); n == 0 {
		t.Error("no packet was counted as not_vip")
	}
}

// checkNonVIP exchanges what is for no VIP over the interface with the program.
func (l *lab) checkNonVIP(t *testing.T) {
	t.Helper()
	checks := []struct {
		name string
		do   func() error
	}{
		{"TCP to the balancer", l.tcpToBalancer},
		{"UDP to the balancer", l.udpToBalancer},
		{"ping to the balancer", l.ping},
	}
	if l.config.forward == lb.NAT { // with DSR the client's way is not through the balancer
		checks = append(checks, []struct {
			name string
			do   func() error
		}{
			{"TCP through the balancer to another port of a backend", l.tcpToBackend},
			{"TCP through the balancer to the port of a backend", func() error { return l.askDirectly(l.Client, l.ClientAddrs[0]) }},
			{"TCP from the balancer to the port of a backend", func() error { return l.askDirectly(l.Balancer, netip.Addr{}) }},
		}...)
	}
	for _, c := range checks {
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

const greeting = "not through a VIP"

// greet listens, and greets the one who connects.
func greet(listen func(network, address string) (net.Listener, error), address string) (netip.AddrPort, func(), error) {
	l, err := listen("tcp", address)
	if err != nil {
		return netip.AddrPort{}, nil, err
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			io.WriteString(c, greeting)
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort(), func() { l.Close() }, nil
}

// greeted connects and expects the greeting.
func greeted(dial func(ctx context.Context, network, address string) (net.Conn, error), to netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	c, err := dial(ctx, "tcp", to.String())
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return err
	}
	got, err := io.ReadAll(c)
	if err == nil && string(got) != greeting {
		err = fmt.Errorf("got %q", got)
	}
	return err
}

func (l *lab) tcpToBalancer() error {
	to, stop, err := greet(l.Balancer.Listen, netip.AddrPortFrom(l.BalancerAddr, 80).String())
	if err != nil {
		return err
	}
	defer stop()
	return greeted(l.Client.DialContext, to)
}

func (l *lab) tcpToBackend() error {
	to, stop, err := greet(l.Backends[0].NS.Listen, netip.AddrPortFrom(l.Backends[0].Addr, 7777).String())
	if err != nil {
		return err
	}
	defer stop()
	return greeted(l.Client.DialContext, to)
}

// askDirectly makes a request to a backend's own address, as a health check
// or an operator does.
func (l *lab) askDirectly(ns *netlab.NS, from netip.Addr) error {
	return ns.Do(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		c, err := dial(ctx, from, l.servers[0].endpoint)
		if err != nil {
			return err
		}
		defer c.Close()
		who, err := c.ask()
		if err == nil && who != l.servers[0].name() {
			err = fmt.Errorf("answered by %q", who)
		}
		return err
	})
}

func (l *lab) udpToBalancer() error {
	to := netip.AddrPortFrom(l.BalancerAddr, l.config.vip.Port)
	conn, err := listenUDP(l.Balancer, to)
	if err != nil {
		return err
	}
	defer conn.Close()
	go (&server{endpoint: to}).echo(conn) // until the deferred Close
	client, err := listenUDP(l.Client, netip.AddrPortFrom(l.ClientAddrs[0], 0))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = askUDP(client, to, greeting)
	return err
}

// ping sends one echo request. With ICMPv6 the kernel fills the checksum in.
func (l *lab) ping() error {
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if l.BalancerAddr.Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129 // RFC 4443
	}
	conn, err := l.Client.DialContext(context.Background(), network, l.BalancerAddr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	message := []byte{request, 0, 0, 0, 'w', 'e', 0, 1}
	binary.BigEndian.PutUint16(message[2:], ^onesSum(message))
	if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(message); err != nil {
		return err
	}
	for buf := make([]byte, 1500); ; {
		n, _, err := conn.(*net.IPConn).ReadFrom(buf) // Read would leave the IPv4 header
		if err != nil {
			return err
		}
		if n >= 8 && buf[0] == reply && string(buf[4:8]) == string(message[4:]) {
			return nil
		}
	}
}

// onesSum is the ones' complement sum of RFC 1071 over an even length.
func onesSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
