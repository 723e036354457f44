package serve_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"weir/agent/keys"
	"weir/agent/report"
	"weir/agent/serve"
)

func TestReport(t *testing.T) {
	l := newLab(t)
	s := l.reports("agent-127.0.0.1")
	client := l.client("lb")
	for want := uint64(1); want <= 3; want++ {
		response, err := client.Get("https://" + s.Addr().String() + report.Path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := report.Read(response.Body)
		response.Body.Close()
		if err != nil || got.Seq != want || got.Backend != "127.0.0.1" || got.Values["cpu"] != 0.5 {
			t.Errorf("report %d: %+v, %v", want, got, err)
		}
		if response.TLS.Version != tls.VersionTLS13 || response.Header.Get("Content-Type") != report.ContentType {
			t.Errorf("TLS %x, %v", response.TLS.Version, response.Header)
		}
		if !report.SpeaksFor(response.TLS.PeerCertificates[0], got.Backend) {
			t.Error("the certificate is not the backend's")
		}
	}
}

func TestRequestsRefused(t *testing.T) {
	l := newLab(t)
	s := l.reports("agent-127.0.0.1")
	client := l.client("lb")
	for _, c := range []struct {
		method, path, body string
		code               int
	}{
		{http.MethodGet, "/", "", http.StatusNotFound},
		{http.MethodGet, report.Path + "/..", "", http.StatusNotFound},
		{http.MethodPost, report.Path, "x", http.StatusMethodNotAllowed},
		{http.MethodDelete, report.Path, "", http.StatusMethodNotAllowed},
		{http.MethodGet, report.Path, strings.Repeat("x", 1<<20), http.StatusBadRequest},
	} {
		q, err := http.NewRequest(c.method, "https://"+s.Addr().String()+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(q)
		if err != nil {
			t.Errorf("%s %s: %v", c.method, c.path, err)
			continue
		}
		response.Body.Close()
		if response.StatusCode != c.code {
			t.Errorf("%s %s: %s, want %d", c.method, c.path, response.Status, c.code)
		}
	}
}

// TestStrangersRefused has peers that are no balancer of this authority.
func TestStrangersRefused(t *testing.T) {
	l, other := newLab(t), newLab(t)
	s := l.reports("agent-127.0.0.1")
	url := "https://" + s.Addr().String() + report.Path
	foreign := other.tls("lb")
	foreign.RootCAs = l.tls("").RootCAs
	old := l.tls("lb")
	old.MaxVersion = tls.VersionTLS12
	for name, config := range map[string]*tls.Config{
		"nobody": l.tls(""), "another agent": l.tls("agent-10.0.0.11"), "another authority's": foreign, "TLS 1.2": old,
	} {
		client := http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: 20 * time.Second}
		if response, err := client.Get(url); err == nil {
			response.Body.Close()
			t.Errorf("%s got a report", name)
		}
		client.CloseIdleConnections()
	}
	if response, err := http.Get("http://" + s.Addr().String() + report.Path); err == nil {
		response.Body.Close()
		if response.StatusCode == http.StatusOK {
			t.Error("got a report without TLS")
		}
	}
	if s.Refused() == 0 {
		t.Error("no refusal was counted")
	}
	if response, err := l.client("lb").Get(url); err != nil {
		t.Errorf("the balancer after them: %v", err)
	} else {
		response.Body.Close()
	}
}

// TestFlood has one peer that opens many connections and says nothing: a
// balancer at another address is served meanwhile.
func TestFlood(t *testing.T) {
	l := newLab(t)
	s := l.reports("agent-127.0.0.1")
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: 10 * time.Second}
	for range 2 * 256 {
		c, err := from.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	response, err := l.client("lb").Get("https://" + s.Addr().String() + report.Path)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
}

// TestSlowPeer never ends its request.
func TestSlowPeer(t *testing.T) {
	l := newLab(t)
	s := l.reports("agent-127.0.0.1")
	c, err := tls.Dial("tcp", s.Addr().String(), l.tls("lb"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET "+report.Path+" HTTP/1.1\r\nHost: a\r\n"); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("a request that never ends is waited for")
	}
}

func TestHugeHeaders(t *testing.T) {
	l := newLab(t)
	s := l.reports("agent-127.0.0.1")
	q, err := http.NewRequest(http.MethodGet, "https://"+s.Addr().String()+report.Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("X", strings.Repeat("x", 1<<20))
	response, err := l.client("lb").Do(q)
	if err != nil {
		return // reset before all was sent
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("answered %s", response.Status)
	}
}

func replace(t *testing.T, l *lab, from, to string) {
	t.Helper()
	for _, ext := range []string{".crt", ".key"} {
		text, err := os.ReadFile(l.path(from + ext))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(l.path(to+ext), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReload replaces the certificate under a connection that is kept.
func TestReload(t *testing.T) {
	l := newLab(t)
	replace(t, l, "agent-127.0.0.1", "agent")
	s := l.reports("agent")
	client := l.client("lb")
	serial := func() string {
		t.Helper()
		response, err := client.Get("https://" + s.Addr().String() + report.Path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := report.Read(response.Body); err != nil {
			t.Fatal(err)
		}
		return response.TLS.PeerCertificates[0].SerialNumber.String()
	}
	first := serial()

	replace(t, l, "agent-10.0.0.11", "agent")
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "speak only for itself") {
		t.Errorf("another backend's certificate: %v", err)
	}
	if err := os.WriteFile(l.path("agent.key"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil {
		t.Error("nonsense was taken for a key")
	}
	if serial() != first {
		t.Error("a refused certificate is in force")
	}

	for _, name := range []string{"agent-127.0.0.1.crt", "agent-127.0.0.1.key"} {
		if err := os.Remove(l.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	l.make(keys.Options{Backends: []string{"127.0.0.1"}, Valid: 30 * time.Minute, Now: time.Now()})
	replace(t, l, "agent-127.0.0.1", "agent")
	before := s.Expires()
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if !s.Expires().Before(before) {
		t.Errorf("expires %s, before %s", s.Expires(), before)
	}
	serial() // the answer on the kept connection ends it
	if serial() == first {
		t.Error("the old certificate is still shown")
	}
}

func TestIdentity(t *testing.T) {
	l := newLab(t)
	l.make(keys.Options{Backends: []string{"web1.example"}, Valid: time.Hour, Now: time.Now()})
	l.make(keys.Options{Backends: []string{"10.0.0.12"}, Valid: time.Hour, Now: time.Now().Add(-2 * time.Hour)})
	for _, c := range []struct {
		cert, backend, want, fails string
	}{
		{"agent-127.0.0.1", "", "127.0.0.1", ""},
		{"agent-127.0.0.1", "127.0.0.1", "127.0.0.1", ""},
		{"agent-web1.example", "", "web1.example", ""},
		{"agent-127.0.0.1", "10.0.0.11", "", `it holds the names ["127.0.0.1"], not backend 10.0.0.11`},
		{"agent-web1.example", "web2.example", "", "an agent can speak only for itself"},
		{"agent-web1.example", "WEB", "", "neither an IP address"},
		{"lb", "", "", "say which of them"},
		{"agent-10.0.0.12", "", "", "ended on"},
		{"none", "", "", "no such file"},
	} {
		s, err := serve.NewReports("127.0.0.1:0", c.backend, l.files(c.cert), func() report.Report { return report.Report{} })
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) || !strings.Contains(err.Error(), c.cert) {
				t.Errorf("%s for %q: %v, want an error with %q", c.cert, c.backend, err, c.fails)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s for %q: %v", c.cert, c.backend, err)
			continue
		}
		if s.Backend() != c.want {
			t.Errorf("%s for %q speaks for %s", c.cert, c.backend, s.Backend())
		}
		s.Close()
	}
	files := l.files("agent-127.0.0.1")
	files.CA = l.path("ca.key")
	if _, err := serve.NewReports("127.0.0.1:0", "", files, nil); err == nil || !strings.Contains(err.Error(), "no certificate in PEM") {
		t.Errorf("a key for an authority: %v", err)
	}
}
