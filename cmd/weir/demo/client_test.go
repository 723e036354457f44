package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Each way a server can go wrong must count as a failure.
func TestClientTellsFailures(t *testing.T) {
	const good = "backend a\n"
	for name, c := range map[string]struct {
		raw  string // written to the connection; then it is closed
		fail string
	}{
		"right":         {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n" + good, ""},
		"wrong body":    {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", "no backend's"},
		"short body":    {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nback", "unexpected EOF"},
		"wrong status":  {"HTTP/1.1 503 No\r\nContent-Length: 10\r\nConnection: close\r\n\r\n" + good, "status 503"},
		"no answer":     {"", "EOF"},
		"not HTTP":      {"SSH-2.0\r\n", "malformed"},
		"more than all": {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n" + good + "x", "server to close"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go answer(l, c.raw)
			calls, failure := 0, error(nil)
			newClient(l.Addr().(*net.TCPAddr).AddrPort(), map[string]bool{good: true}).
				connection(netip.MustParseAddr("127.0.0.1"), 1, func(_ time.Duration, err error) { calls++; failure = err })
			if calls != 1 {
				t.Errorf("%d results for one request", calls)
			}
			if (failure == nil) != (c.fail == "") || failure != nil && !strings.Contains(failure.Error(), c.fail) {
				t.Errorf("failure is %v, want %q", failure, c.fail)
			}
		})
	}
}

func answer(l net.Listener, raw string) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		io.WriteString(c, raw)
	}
}

func TestClientTellsRefusedConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	var failure error
	newClient(addr, nil).connection(netip.MustParseAddr("127.0.0.1"), 1, func(_ time.Duration, err error) { failure = err })
	if failure == nil || !strings.Contains(failure.Error(), "refused") {
		t.Errorf("failure is %v, want a refused connection", failure)
	}
}

func localServer(t *testing.T, clients ...string) *server {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{endpoint: inner.Addr().(*net.TCPAddr).AddrPort()}
	for _, c := range clients {
		s.clients = append(s.clients, netip.MustParseAddr(c))
	}
	s.listener = &countingListener{Listener: inner, server: s}
	s.http = &http.Server{Handler: s.routes()}
	var g group
	g.run(s.serve)
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if err := g.wait(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestServerCountsClientsConnections(t *testing.T) {
	s := localServer(t, "127.0.0.2")
	c := newClient(s.endpoint, map[string]bool{s.body(): true})
	requests := 0
	for from, n := range map[string]int{"127.0.0.2": 5, "127.0.0.3": 3} {
		c.connection(netip.MustParseAddr(from), n, func(_ time.Duration, err error) {
			requests++
			if err != nil {
				t.Error(err)
			}
		})
	}
	if requests != 8 || s.accepted.Load() != 1 {
		t.Errorf("%d requests on %d counted connections, want 8 on 1", requests, s.accepted.Load())
	}
}

func TestLoadCountsWhatFails(t *testing.T) {
	var l load
	l.count(time.Millisecond, nil)
	l.count(time.Millisecond, io.ErrUnexpectedEOF)
	l.count(time.Millisecond, context.Canceled)
	err := l.failure()
	if err == nil || !strings.Contains(err.Error(), "2 of 3 requests failed, the first one unexpected EOF") {
		t.Errorf("failure is %v", err)
	}
	if p := l.latency.read().quantile(1); p < time.Millisecond || p > 2*time.Millisecond {
		t.Errorf("latency %s, want 1ms", p)
	}
}

func TestStreamIsTheSameHoweverItIsCut(t *testing.T) {
	h := new(server).routes()
	get := func(query string) string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/stream?"+query, nil))
		if w.Code != http.StatusOK {
			t.Fatalf("%s: status %d", query, w.Code)
		}
		return w.Body.String()
	}
	var want strings.Builder
	for offset := 0; offset < 1600; offset += 16 {
		fmt.Fprintf(&want, "%015d\n", offset)
	}
	for _, rate := range []int{7770, 5000, 1 << 20} {
		if got := get(fmt.Sprintf("bytes=1555&rate=%d", rate)); got != want.String()[:1555] {
			t.Errorf("rate %d: stream of %d bytes differs", rate, len(got))
		}
	}
}

func TestStreamRefusesBadSizes(t *testing.T) {
	for _, query := range []string{"bytes=0", "bytes=-1", "bytes=x", "rate=0", "rate=99999999999999"} {
		w := httptest.NewRecorder()
		new(server).routes().ServeHTTP(w, httptest.NewRequest("GET", "/stream?"+query, nil))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%s: status %d, want 400", query, w.Code)
		}
	}
}
