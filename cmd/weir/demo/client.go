package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// requestTimeout bounds one request with its connection: long enough for a SYN
// that is lost twice (RFC 6298: after 1 s and 3 s), so that only what never
// comes counts as failed.
const requestTimeout = 10 * time.Second

// client opens connections to a VIP and makes requests on them. It must be
// used by one goroutine, on a thread inside the clients' namespace.
type client struct {
	vip    netip.AddrPort
	bodies map[string]bool // the answers that are right
	reader *bufio.Reader
}

func newClient(vip netip.AddrPort, bodies map[string]bool) *client {
	return &client{vip: vip, bodies: bodies, reader: bufio.NewReader(nil)}
}

// connection makes requests one after the other on one connection from an
// address and calls done after each, with the time since the one before. It
// ends after the first error, and else when the server has closed: then no
// port of the client is left in TIME_WAIT.
func (c *client) connection(from netip.Addr, requests int, done func(time.Duration, error)) {
	start := time.Now()
	conn, err := c.dial(from)
	if err != nil {
		done(time.Since(start), fmt.Errorf("connecting from %s: %w", from, err))
		return
	}
	defer conn.Close()
	c.reader.Reset(conn)
	for left := requests; left > 0; left-- {
		err := c.request(conn, left == 1)
		done(time.Since(start), err)
		if err != nil {
			return
		}
		start = time.Now()
	}
}

func (c *client) dial(from netip.Addr) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout:   requestTimeout,
		LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)),
		// Without it bind(2) takes a port for all destinations (ip(7)).
		Control: func(_, _ string, raw syscall.RawConn) error {
			var set error
			err := raw.Control(func(fd uintptr) {
				set = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
			})
			return errors.Join(err, set)
		},
	}
	return dialer.DialContext(context.Background(), "tcp", c.vip.String())
}

func (c *client) request(conn net.Conn, last bool) error {
	if err := conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return fmt.Errorf("setting the deadline: %w", err)
	}
	closing := ""
	if last {
		closing = "Connection: close\r\n"
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n%s\r\n", c.vip, closing); err != nil {
		return fmt.Errorf("sending the request: %w", err)
	}
	if err := c.response(); err != nil {
		return err
	}
	if !last {
		return nil
	}
	if _, err := c.reader.ReadByte(); err != io.EOF {
		return fmt.Errorf("waiting for the server to close: %w", err)
	}
	return nil
}

func (c *client) response() error {
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return fmt.Errorf("reading the response: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("reading the body: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d, want 200", resp.StatusCode)
	case !c.bodies[string(body)]:
		return fmt.Errorf("body %.60q is no backend's", body)
	}
	return nil
}
