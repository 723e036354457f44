package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
)

// conversation is one flow whose requests are numbered: each must be answered
// with its number and by the same server.
type conversation struct {
	net.Conn
	proto lb.Proto
	from  netip.AddrPort
	ask   func(n int) (who string, err error)
	said  int
	who   string // "" until somebody has answered
}

// answerWithin bounds the wait for a datagram's answer, which may be lost.
const answerWithin = time.Second

var errOtherServer = errors.New("another server answered")

// say makes the next request.
func (c *conversation) say() error {
	c.said++
	who, err := c.ask(c.said)
	switch {
	case err != nil:
		return fmt.Errorf("request %d of %s over %s to %s: %w", c.said, c.from, c.proto, c.who, err)
	case c.who != "" && c.who != who:
		return fmt.Errorf("request %d of %s over %s to %s: %w: %s", c.said, c.from, c.proto, c.who, errOtherServer, who)
	}
	c.who = who
	return nil
}

// lost tells whether an error of say means that a datagram was lost.
func (c *conversation) lost(err error) bool {
	return c.proto == lb.UDP && errors.Is(err, os.ErrDeadlineExceeded)
}

func (c *conversation) close() { _ = c.Conn.Close() }

// converse establishes so many connections and as many streams, which end with
// the test.
func (l *lab) converse(t *testing.T, each int) (all []*conversation) {
	t.Helper()
	for i := range each {
		for _, open := range []func(netip.Addr) (*conversation, error){l.openTCP, l.openUDP} {
			c, err := open(l.ClientAddrs[i%len(l.ClientAddrs)])
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.close)
			for range 2 {
				if err := c.say(); err != nil {
					t.Fatal(err)
				}
			}
			all = append(all, c)
		}
	}
	return all
}

func (l *lab) openTCP(from netip.Addr) (c *conversation, err error) {
	err = l.Client.Do(func() error {
		conn, err := dial(context.Background(), from, l.config.endpoint())
		if err != nil {
			return err
		}
		c = &conversation{Conn: conn, proto: lb.TCP, from: conn.LocalAddr().(*net.TCPAddr).AddrPort(), ask: conn.count}
		return nil
	})
	return c, err
}

// count makes a request with a number that the answer has to have.
func (c *connection) count(n int) (string, error) {
	resp, err := c.get(fmt.Sprintf("/count?n=%d", n))
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	who, counted := strings.CutSuffix(string(body), fmt.Sprintf(" %d", n))
	if !counted {
		return "", fmt.Errorf("answer %q to number %d", body, n)
	}
	return who, nil
}

func (l *lab) openUDP(from netip.Addr) (*conversation, error) {
	conn, err := listenUDP(l.Client, netip.AddrPortFrom(from, 0))
	if err != nil {
		return nil, err
	}
	ask := func(n int) (string, error) { return countUDP(conn, l.config.endpoint(), n) }
	return &conversation{Conn: conn, proto: lb.UDP, from: conn.LocalAddr().(*net.UDPAddr).AddrPort(), ask: ask}, nil
}

// countUDP is count over UDP. Answers to earlier datagrams may come late.
func countUDP(conn *net.UDPConn, to netip.AddrPort, n int) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return "", err
	}
	datagram := fmt.Sprintf("%d ", n)
	if _, err := conn.WriteToUDPAddrPort([]byte(datagram), to); err != nil {
		return "", err
	}
	buf := make([]byte, 256)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return "", err
		}
		if got := netip.AddrPortFrom(from.Addr().Unmap(), from.Port()); got != to {
			return "", fmt.Errorf("answered from %s, not from %s", got, to)
		}
		if who, echoed := strings.CutPrefix(string(buf[:n]), datagram); echoed {
			return who, nil
		}
	}
}
