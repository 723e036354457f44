package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// requester makes requests one after the other on one connection; see client.
type requester interface {
	connection(from netip.Addr, requests int, done func(time.Duration, error))
}

// secureClient speaks HTTP/2 or HTTP/3. open makes a connection from an address.
type secureClient struct {
	vip    netip.AddrPort
	bodies map[string]bool
	open   func(ctx context.Context, from netip.Addr, vip netip.AddrPort) (carrier, error)
}

// carrier is a connection that carries requests.
type carrier struct {
	http.RoundTripper
	close func()
}

func newH2Client(vip netip.AddrPort, bodies map[string]bool, roots *x509.CertPool) *secureClient {
	config := clientTLS(roots, "h2")
	return &secureClient{vip: vip, bodies: bodies, open: func(ctx context.Context, from netip.Addr, vip netip.AddrPort) (carrier, error) {
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		conn, err := dialer.DialContext(ctx, "tcp", vip.String())
		if err != nil {
			return carrier{}, err
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return carrier{}, err
		}
		given := func(context.Context, string, string) (net.Conn, error) { return secured, nil }
		t := &http.Transport{DialTLSContext: given, Protocols: new(http.Protocols), DisableCompression: true}
		t.Protocols.SetHTTP2(true)
		c, err := t.NewClientConn(ctx, "https", vip.String())
		if err != nil {
			conn.Close()
			return carrier{}, err
		}
		return carrier{c, func() { c.Close() }}, nil
	}}
}

func newH3Client(vip netip.AddrPort, bodies map[string]bool, roots *x509.CertPool) *secureClient {
	config := clientTLS(roots, http3.NextProtoH3)
	return &secureClient{vip: vip, bodies: bodies, open: func(ctx context.Context, from netip.Addr, vip netip.AddrPort) (carrier, error) {
		socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
		if err != nil {
			return carrier{}, err
		}
		transport := &quic.Transport{Conn: socket}
		end := func() {
			transport.Close()
			socket.Close()
		}
		conn, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(vip), config, nil)
		if err != nil {
			end()
			return carrier{}, err
		}
		return carrier{new(http3.Transport).NewClientConn(conn), func() {
			_ = conn.CloseWithError(0, "") // it is over either way
			end()
		}}, nil
	}}
}

func (c *secureClient) connection(from netip.Addr, requests int, done func(time.Duration, error)) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	conn, err := c.open(ctx, from, c.vip)
	cancel()
	if err != nil {
		done(time.Since(start), fmt.Errorf("connecting from %s: %w", from, err))
		return
	}
	defer conn.close()
	for range requests {
		err := c.request(conn)
		done(time.Since(start), err)
		if err != nil {
			return
		}
		start = time.Now()
	}
}

func (c *secureClient) request(conn carrier) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+tierHost+"/", nil)
	if err != nil {
		return err
	}
	answer, err := conn.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("making the request: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return fmt.Errorf("reading the body: %w", err)
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d, want 200", answer.StatusCode)
	case !c.bodies[string(body)]:
		return fmt.Errorf("body %.60q is no backend's", body)
	}
	return nil
}
