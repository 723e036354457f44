package h3

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"weir/l7/endtest"
	"weir/l7/exchange"
)

func serve(t testing.TB, h exchange.HandlerFunc) (*End, *http.Client) {
	t.Helper()
	certificate := selfSigned(t)
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Options{Listener: "test"}, socket, &tls.Config{Certificates: []tls.Certificate{certificate}}, h)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.Serve() }()
	roots := x509.NewCertPool()
	roots.AddCert(certificate.Leaf)
	to := socket.LocalAddr().String()
	tr := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"},
		Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, to, c, q)
		},
	}
	t.Cleanup(func() {
		tr.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
		socket.Close()
	})
	return e, &http.Client{Transport: tr}
}

func TestEnd(t *testing.T) {
	endtest.Run(t, func(t testing.TB, h exchange.HandlerFunc) *http.Client {
		_, c := serve(t, h)
		return c
	})
}

func TestClient(t *testing.T) {
	got := make(chan string, 1)
	_, c := serve(t, func(x *exchange.Exchange) {
		got <- fmt.Sprint(x.Client.Listener, x.Client.Remote.Addr(), x.Client.TLS.NegotiatedProtocol, x.Request.Protocol)
		x.Response.Status = 204
	})
	if _, err := endtest.Ask(t, c, "GET", "/", nil); err != nil {
		t.Fatal(err)
	}
	if g, want := <-got, "test127.0.0.1h3HTTP/3.0"; g != want {
		t.Errorf("%q, want %q", g, want)
	}
}

// What is under way is finished when the end shuts down.
func TestShutdown(t *testing.T) {
	entered, leave := make(chan bool), make(chan bool)
	e, c := serve(t, func(x *exchange.Exchange) {
		entered <- true
		<-leave
		x.Response.Status = 200
		x.Response.SetBytes([]byte("finished"))
	})
	result := make(chan string, 1)
	go func() {
		answer, err := endtest.Ask(t, c, "GET", "/", nil)
		result <- fmt.Sprint(answer.Text, err)
	}()
	<-entered
	shut := make(chan error, 1)
	go func() { shut <- e.server.Shutdown(t.Context()) }()
	close(leave)
	if got := <-result; got != "finished<nil>" {
		t.Errorf("the open stream came to %s", got)
	}
	if err := <-shut; err != nil {
		t.Error(err)
	}
}

func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
