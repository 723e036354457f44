package listen_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/l7/exchange"
	"weir/l7/listen"
	"weir/l7/proxyproto"
)

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// start listens on loopback and has connections told whom they are of, and then
// echoed.
func start(t *testing.T, o listen.Options) (*listen.Listener, string, chan error) {
	t.Helper()
	refused := make(chan error, 100)
	o.Name = "test"
	o.Serve = func(c net.Conn, client *exchange.Client, protocol string) {
		defer c.Close()
		_, _ = io.WriteString(c, client.Remote.Addr().String()+" "+protocol+"\n")
		_, _ = io.Copy(c, c)
	}
	o.Refused = func(_ netip.AddrPort, err error) { refused <- err }
	l, err := listen.New(netip.MustParseAddrPort("127.0.0.1:0"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := l.Wait(ctx); err != nil {
			t.Error(err)
		}
	})
	return l, l.Addr().String(), refused
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

// talk sends in and gives all that comes back.
func talk(t *testing.T, c interface {
	net.Conn
	CloseWrite() error
}, in string) string {
	t.Helper()
	_, _ = io.WriteString(c, in)
	_ = c.CloseWrite()
	out, _ := io.ReadAll(c) // what came before a reset counts
	return string(out)
}

func TestProxyHeader(t *testing.T) {
	_, addr, refused := start(t, listen.Options{Proxy: []netip.Prefix{loopback}, Handshake: 200 * time.Millisecond})
	h := proxyproto.Header{Source: netip.MustParseAddrPort("192.0.2.1:5"), Destination: netip.MustParseAddrPort("192.0.2.2:80")}
	for _, c := range []struct{ name, in, want, refused string }{
		{"version 1", string(proxyproto.Append(nil, 1, h)) + "abc", "192.0.2.1 \nabc", ""},
		{"version 2", string(proxyproto.Append(nil, 2, h)) + "abc", "192.0.2.1 \nabc", ""},
		{"of the proxy itself", string(proxyproto.Append(nil, 2, proxyproto.Header{})) + "abc", "127.0.0.1 \nabc", ""},
		{"none", "GET / HTTP/1.1\r\n", "", "no PROXY header"},
		{"half", "PROXY TCP4 192", "", "timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := talk(t, dial(t, addr), c.in); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if c.refused != "" {
				if err := <-refused; !strings.Contains(err.Error(), c.refused) {
					t.Errorf("refused: %v", err)
				}
			}
		})
	}
	t.Run("in pieces", func(t *testing.T) {
		conn := dial(t, addr)
		for _, b := range proxyproto.Append(nil, 2, h) {
			_, _ = conn.Write([]byte{b})
		}
		if got := talk(t, conn, "abc"); got != "192.0.2.1 \nabc" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("too slow", func(t *testing.T) {
		conn := dial(t, addr)
		_, _ = io.WriteString(conn, "PROXY ")
		if out, _ := io.ReadAll(conn); len(out) > 0 {
			t.Errorf("got %q", out)
		}
		if err := <-refused; !strings.Contains(err.Error(), "timeout") {
			t.Errorf("refused: %v", err)
		}
	})
}

// TestProxyHeaderOfOthers: only listed peers may say who they are.
func TestProxyHeaderOfOthers(t *testing.T) {
	_, addr, _ := start(t, listen.Options{Proxy: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	if got := talk(t, dial(t, addr), "PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n"); got != "127.0.0.1 \nPROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n" {
		t.Errorf("got %q", got)
	}
}

func certificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestSecure(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"h2", "http/1.1"}}
	_, addr, refused := start(t, listen.Options{
		Proxy:  []netip.Prefix{loopback},
		Secure: listen.TLS(func() *tls.Config { return config }),
	})
	proxied := func() *net.TCPConn {
		c := dial(t, addr)
		_, _ = io.WriteString(c, "PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\n")
		return c
	}
	client := tls.Client(proxied(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if got := talk(t, client, "abc"); got != "192.0.2.1 h2\nabc" {
		t.Errorf("got %q", got)
	}
	if got := talk(t, proxied(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 Bad Request\r\n") || !strings.Contains(got, "https://") {
		t.Errorf("plain HTTP got %q", got)
	}
	if err := <-refused; !errors.Is(err, listen.ErrPlain) {
		t.Errorf("refused: %v", err)
	}
	if got := talk(t, proxied(), "\x00\x01\x02\x03\x04\x05"); got != "" {
		t.Errorf("nonsense got %q", got)
	}
	if err := <-refused; !strings.Contains(err.Error(), "TLS handshake") {
		t.Errorf("refused: %v", err)
	}
}

func TestLimits(t *testing.T) {
	l, addr, refused := start(t, listen.Options{PerClient: 2, Connections: 3, Proxy: []netip.Prefix{loopback}})
	served := 0
	for _, step := range []struct {
		source, got string
		err         error
	}{
		{"192.0.2.1", "192.0.2.1 \n", nil},
		{"192.0.2.1", "192.0.2.1 \n", nil},
		{"192.0.2.1", "HTTP/1.1 503 ", listen.ErrPerClient},
		{"192.0.2.2", "192.0.2.2 \n", nil},
		{"192.0.2.3", "HTTP/1.1 503 ", listen.ErrConnections},
	} {
		c := dial(t, addr)
		_, _ = io.WriteString(c, "PROXY TCP4 "+step.source+" 192.0.2.2 5 80\r\n")
		line := make([]byte, len(step.got))
		n, _ := io.ReadFull(c, line)
		if string(line[:n]) != step.got {
			t.Fatalf("%s got %q, want %q", step.source, line[:n], step.got)
		}
		if step.err == nil {
			served++
			continue
		}
		if err := <-refused; !errors.Is(err, step.err) {
			t.Errorf("refused: %v, want %v", err, step.err)
		}
		for l.Open() > served { // until it has ended
			time.Sleep(time.Millisecond)
		}
	}
}

func TestClose(t *testing.T) {
	l, addr, _ := start(t, listen.Options{})
	c := dial(t, addr)
	_, _ = io.ReadFull(c, make([]byte, len("127.0.0.1 \n")))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("accepted after Close")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := l.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 connections") {
		t.Errorf("Wait: %v", err)
	}
	if got := talk(t, c, "abc"); got != "abc" {
		t.Errorf("the open connection got %q", got)
	}
	if err := l.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAddressToCome: a VIP may be announced later than it is listened on.
func TestAddressToCome(t *testing.T) {
	for _, addr := range []string{"192.0.2.77:0", "[2001:db8::77]:0"} {
		l, err := listen.New(netip.MustParseAddrPort(addr), listen.Options{Name: "test"})
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
	_, taken, _ := start(t, listen.Options{})
	if _, err := listen.New(netip.MustParseAddrPort(taken), listen.Options{Name: "test"}); err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("an address that is taken: %v", err)
	}
}
