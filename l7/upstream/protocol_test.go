package upstream_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/l7/proxyproto"
	"weir/l7/upstream"
	"weir/loader/lb"
)

// flushing sends each piece at once.
type flushing struct{ http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	_ = http.NewResponseController(f.ResponseWriter).Flush()
	return n, err
}

// TestH2 proxies to HTTP/2 backends: trailers, 103, bodies both ways.
func TestH2(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Header.Get("User-Agent") != "test" || r.Header.Get("Connection") != "" {
			t.Errorf("%s %v", r.Proto, r.Header)
		}
		w.Header().Set("Link", "x")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("X-Path", r.URL.String()+" "+r.Host)
		w.Header().Set("Trailer", "X-T")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(flushing{w}, r.Body)
		w.Header().Set("X-T", r.Trailer.Get("X-S"))
	})
	plain := httptest.NewUnstartedServer(handler)
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(handler)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	trust, err := upstream.ClientTLS(lb.UpstreamTLS{CA: caFile(t, secure.Certificate().Raw), ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		o    upstream.Options
		addr string
	}{
		{"h2c", upstream.Options{Name: "p", Protocol: lb.UpstreamH2C}, plain.Listener.Addr().String()},
		{"h2", upstream.Options{Name: "p", Protocol: lb.UpstreamH2, TLS: trust}, secure.Listener.Addr().String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", front(t, pool(t, c.o, c.addr)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, "POST //a%2Fb?c HTTP/1.1\r\nHost: a.b\r\nUser-Agent: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-S\r\nConnection: close\r\n\r\n")
			r := bufio.NewReader(conn)
			hints, err := http.ReadResponse(r, nil)
			if err != nil || hints.StatusCode != 103 || hints.Header.Get("Link") != "x" {
				t.Fatalf("%v, %v", hints, err)
			}
			answer, err := http.ReadResponse(r, nil)
			if err != nil || answer.StatusCode != 200 || answer.Header.Get("X-Path") != "//a%2Fb?c a.b" {
				t.Fatalf("%v, %v", answer, err)
			}
			_, _ = io.WriteString(conn, "3\r\nabc\r\n") // only after the answer has begun
			piece := make([]byte, 3)
			if _, err := io.ReadFull(answer.Body, piece); err != nil || string(piece) != "abc" {
				t.Fatalf("%q, %v", piece, err)
			}
			_, _ = io.WriteString(conn, "0\r\nX-S: y\r\n\r\n")
			if rest, err := io.ReadAll(answer.Body); err != nil || len(rest) > 0 || answer.Trailer.Get("X-T") != "y" {
				t.Errorf("%q %v, %v", rest, answer.Trailer, err)
			}
		})
	}
}

func caFile(t *testing.T, der []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// pair writes a certificate of its own signature and its key.
func pair(t *testing.T) (cert, key string, parsed *x509.Certificate) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a"},
		IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	parsed, _ = x509.ParseCertificate(der)
	keyBytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key = filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyBytes}), 0o600); err != nil {
		t.Fatal(err)
	}
	return caFile(t, der), key, parsed
}

func TestTLS(t *testing.T) {
	cert, key, ours := pair(t)
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].DNSNames[0])
		}
	}))
	pool1 := x509.NewCertPool()
	pool1.AddCert(ours)
	backend.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool1}
	backend.Config.ErrorLog = log.New(io.Discard, "", 0)
	backend.StartTLS()
	t.Cleanup(backend.Close)
	ca := caFile(t, backend.Certificate().Raw)
	for _, c := range []struct {
		name   string
		o      lb.UpstreamTLS
		status int
		text   string
	}{
		{"by address", lb.UpstreamTLS{CA: ca}, 200, ""},
		{"by name", lb.UpstreamTLS{CA: ca, ServerName: "example.com"}, 200, ""},
		{"other name", lb.UpstreamTLS{CA: ca, ServerName: "example.org"}, 502, "502 Bad Gateway\n"},
		{"other name, chain only", lb.UpstreamTLS{CA: ca, ServerName: "example.org", Verify: lb.VerifyChain}, 200, ""},
		{"not trusted", lb.UpstreamTLS{}, 502, "502 Bad Gateway\n"},
		{"not trusted, chain only", lb.UpstreamTLS{Verify: lb.VerifyChain}, 502, "502 Bad Gateway\n"},
		{"not verified", lb.UpstreamTLS{Verify: lb.VerifyNone}, 200, ""},
		{"our certificate", lb.UpstreamTLS{CA: ca, Cert: cert, Key: key}, 200, "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := upstream.ClientTLS(c.o)
			if err != nil {
				t.Fatal(err)
			}
			addr := front(t, pool(t, upstream.Options{Name: "p", TLS: config}, backend.Listener.Addr().String()))
			for range 2 {
				if status, text, _ := do(t, "GET", "http://"+addr, ""); status != c.status || text != c.text {
					t.Errorf("%d %q", status, text)
				}
			}
		})
	}
	for _, c := range []struct {
		o    lb.UpstreamTLS
		want string
	}{
		{lb.UpstreamTLS{CA: "/nowhere"}, "/nowhere"},
		{lb.UpstreamTLS{CA: key}, "no certificate in " + key},
		{lb.UpstreamTLS{Cert: cert, Key: cert}, "certificate for backends"},
		{lb.UpstreamTLS{Verify: "some"}, "some"},
	} {
		if _, err := upstream.ClientTLS(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

// TestProxyHeader: the backend is told who asks, on a connection that is that
// client's only.
func TestProxyHeader(t *testing.T) {
	for version := 1; version <= 2; version++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		sources := make(chan string, 10)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				b := make([]byte, 1000)
				n, _ := c.Read(b)
				h, n, err := proxyproto.Parse(b[:n])
				if err != nil || n == 0 {
					t.Error(err)
				}
				sources <- h.Source.String()
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}()
		addr := front(t, pool(t, upstream.Options{Name: "p", ProxyProtocol: version}, l.Addr().String()))
		for range 2 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, _ = io.WriteString(conn, get)
				if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
					t.Fatal(err)
				}
				if got := <-sources; got != conn.LocalAddr().String() {
					t.Errorf("version %d: source %s, want %s", version, got, conn.LocalAddr())
				}
			}
			_ = conn.Close()
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	for _, c := range []struct {
		o    upstream.Options
		want string
	}{
		{upstream.Options{Name: "p", Protocol: lb.UpstreamH2}, "pool p: protocol h2 needs TLS"},
		{upstream.Options{Name: "p", Protocol: "h9"}, "h9"},
		{upstream.Options{Name: "p", Algorithm: "best"}, "best"},
		{upstream.Options{Name: "p", ProxyProtocol: 3}, "version 3"},
		{upstream.Options{Name: "p", ProxyProtocol: 1, Protocol: lb.UpstreamH2C}, "PROXY"},
	} {
		if _, err := upstream.NewPool(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}
