package tier_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// secured is a listener with HTTP/3 whose host admin.example.org asks clients
// for certificates.
func secured(t *testing.T) (*rig, *authority) {
	t.Helper()
	r, ca := start(t, "", nil), newCA(t)
	ca.write(t, r.dir)
	file := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.certificate.Raw})
	if err := os.WriteFile(filepath.Join(r.dir, "ca.pem"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	r.load(t, `
http:
  certificates: [{name: a, certificate: DIR/own.pem, key: DIR/own.key}]
  listeners:
  - name: web
    addresses: ['ADDR']
    http3: true
    tls: {stapling: false, clients: [{hosts: [admin.example.org], ca: DIR/ca.pem}]}
  routes: [{name: all, respond: {body: x}, response_headers: {set: [{name: X-Said, value: "{protocol} {tls_version} {tls_sni} {scheme}"}]}}]
`)
	return r, ca
}

func TestSecure(t *testing.T) {
	r, ca := secured(t)
	config := func(protocol string) *tls.Config {
		return &tls.Config{RootCAs: ca.pool, ServerName: "example.org", NextProtos: []string{protocol}}
	}
	overTCP := func(protocol string, http2 bool) http.RoundTripper {
		t2 := &http.Transport{ForceAttemptHTTP2: http2, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&tls.Dialer{Config: config(protocol)}).DialContext(ctx, "tcp", r.addr)
		}}
		t.Cleanup(t2.CloseIdleConnections)
		return t2
	}
	overQUIC := &http3.Transport{TLSClientConfig: config("h3"), Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
		return quic.DialAddr(ctx, r.addr, c, q)
	}}
	t.Cleanup(func() { overQUIC.Close() })
	for _, c := range []struct {
		how  http.RoundTripper
		said string
	}{
		{overTCP("http/1.1", false), "HTTP/1.1 TLS 1.3 example.org https"},
		{overTCP("h2", true), "HTTP/2.0 TLS 1.3 example.org https"},
		{overQUIC, "HTTP/3.0 TLS 1.3 example.org https"},
	} {
		answer := through(t, c.how, "https://example.org/")
		if answer.StatusCode != 200 || answer.Header.Get("X-Said") != c.said {
			t.Errorf("%d %q, want %q", answer.StatusCode, answer.Header.Get("X-Said"), c.said)
		}
		if got := answer.Header.Get("Alt-Svc"); !strings.HasPrefix(got, `h3=":`) {
			t.Errorf("%s: Alt-Svc %q", c.said, got)
		}
		// What the client showed for another host says nothing here.
		if answer := through(t, c.how, "https://admin.example.org/"); answer.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s: another host that asks for certificates: %d", c.said, answer.StatusCode)
		}
	}
	if all := r.Certificates(); len(all) != 1 || all[0].Hosts[0] != "example.org" {
		t.Errorf("certificates %+v", all)
	}
}

func through(t *testing.T, how http.RoundTripper, url string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := how.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer
}

// A handshake for a name that nobody has, and plain HTTP where TLS is spoken.
func TestWrongFirstWords(t *testing.T) {
	r, ca := secured(t)
	_, err := tls.Dial("tcp", r.addr, &tls.Config{RootCAs: ca.pool, ServerName: "other.example"})
	if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("a name that nobody has: %v", err)
	}
	answer, err := r.http.Get("http://example.org/")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); answer.StatusCode != 400 || err != nil || !strings.Contains(string(text), "HTTPS") {
		t.Errorf("plain HTTP: %d %q, %v", answer.StatusCode, text, err)
	}
}
