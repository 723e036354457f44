package upstream_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"weir/l7/exchange"
	"weir/l7/h1"
	"weir/l7/upstream"
)

// front runs a server whose handler is h.
func front(t testing.TB, h exchange.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := h1.NewServer(h1.Options{Handler: h})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			client := &exchange.Client{
				Remote: c.RemoteAddr().(*net.TCPAddr).AddrPort(),
				Local:  c.LocalAddr().(*net.TCPAddr).AddrPort(),
			}
			go server.Serve(c, client)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		server.Abort()
		for server.Open() > 0 {
			time.Sleep(time.Millisecond)
		}
	})
	return l.Addr().String()
}

// pool makes a pool of backends, all with weight 1.
func pool(t testing.TB, o upstream.Options, backends ...string) *upstream.Pool {
	t.Helper()
	p, err := upstream.NewPool(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	var targets []upstream.Target
	for _, b := range backends {
		targets = append(targets, upstream.Target{Addr: netip.MustParseAddrPort(b), Weight: 64, Up: true})
	}
	if err := p.Update(targets); err != nil {
		t.Fatal(err)
	}
	return p
}

// origin runs a backend of the standard library.
func origin(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestProxiedGet(t *testing.T) {
	backend := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Path", r.URL.String())
		_, _ = io.WriteString(w, "hello "+r.Host)
	})
	addr := front(t, pool(t, upstream.Options{Name: "p"}, backend))
	for range 3 {
		response, err := http.Get("http://" + addr + "/a/b?c=d")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != 200 || string(body) != "hello "+addr || response.Header.Get("X-Path") != "/a/b?c=d" {
			t.Errorf("%v %q %v, %v", response.Status, body, response.Header, err)
		}
	}
}
