package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// requestTimeout bounds one request: long enough for a SYN that is lost twice
// (RFC 6298: after 1 s and 3 s), so that only what never comes has failed.
const requestTimeout = 10 * time.Second

// connection is one HTTP connection through a VIP. Whoever dials it must be on
// a thread inside the client's namespace.
type connection struct {
	net.Conn
	reader *bufio.Reader
}

// dial lets the kernel choose the address if from is not valid.
func dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (*connection, error) {
	d := net.Dialer{Timeout: requestTimeout}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return &connection{c, bufio.NewReader(c)}, nil
}

// get makes a request; the caller reads the body.
func (c *connection) get(path string) (*http.Response, error) {
	if err := c.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: weir\r\n\r\n", path); err != nil {
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	return c.response()
}

// post sends so many bytes.
func (c *connection) post(path string, body io.Reader, length int64) (*http.Response, error) {
	if err := c.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return nil, err
	}
	_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: weir\r\nContent-Length: %d\r\n\r\n", path, length)
	if err == nil {
		_, err = io.CopyN(c, body, length)
	}
	if err != nil {
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	return c.response()
}

func (c *connection) response() (*http.Response, error) {
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the response: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", resp.Status)
	}
	return resp, nil
}

// ask makes a request and returns who answered.
func (c *connection) ask() (string, error) {
	resp, err := c.get("/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// askOnce makes one request on a connection of its own from the client.
func (l *lab) askOnce(ctx context.Context) (who string, err error) {
	err = l.Client.Do(func() error {
		c, err := dial(ctx, l.ClientAddrs[0], l.config.endpoint())
		if err != nil {
			return err
		}
		defer c.Close()
		who, err = c.ask()
		return err
	})
	return who, err
}
