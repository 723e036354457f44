package upstream_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/l7/balance"
	"weir/l7/exchange"
	"weir/l7/upstream"
	"weir/loader/lb"
)

// statuses is a set of status codes.
func statuses(t *testing.T, s string) lb.StatusSet {
	set, err := lb.ParseStatusSet(s)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// closed is an address where nobody listens.
func closed(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// raw is a backend that reads a head and then does f to the connection.
func raw(t *testing.T, f func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for line := ""; line != "\r\n"; {
					if line, err = r.ReadString('\n'); err != nil {
						return
					}
				}
				f(c)
			}()
		}
	}()
	return l.Addr().String()
}

// do asks the front and gives status and body.
func do(t *testing.T, method, url, body string, cookies ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cookies {
		r.Header.Add("Cookie", c)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Header
}

// TestRetry: the first of two backends fails in some way, and the second would
// answer with what it was sent.
func TestRetry(t *testing.T) {
	good := func() string {
		return origin(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = io.WriteString(w, "good "+string(body))
		})
	}
	dead := closed(t)
	mute := raw(t, func(net.Conn) {})
	half := raw(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n") })
	slow := raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	busy := origin(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) })
	retries := lb.Retries{Attempts: 1, Least: 5, Body: 100, Status: statuses(t, "503")}
	within := retries
	within.Within = 20 * time.Millisecond
	for _, c := range []struct {
		name    string
		bad     string
		o       lb.Retries
		method  string
		body    string
		status  int
		text    string
		retried bool
	}{
		{"refused", dead, retries, "GET", "", 200, "good ", true},
		{"refused, not repeatable", dead, retries, "POST", "abc", 200, "good abc", true},
		{"refused, no retries", dead, lb.Retries{}, "GET", "", 502, "502 Bad Gateway\n", false},
		{"no answer", mute, retries, "GET", "", 200, "good ", true},
		{"no answer, not repeatable", mute, retries, "POST", "", 502, "502 Bad Gateway\n", false},
		{"no answer, small body", mute, retries, "PUT", "abc", 200, "good abc", true},
		{"no answer, large body", mute, retries, "PUT", strings.Repeat("a", 101), 502, "502 Bad Gateway\n", false},
		{"half an answer", half, retries, "GET", "", 200, "good ", true},
		{"late", slow, within, "GET", "", 200, "good ", true},
		{"late, not repeatable", slow, within, "POST", "", 504, "504 Gateway Timeout\n", false},
		{"status", busy, retries, "GET", "", 200, "good ", true},
		{"status, not repeatable", busy, retries, "POST", "", 503, "busy\n", false},
		{"other status", busy, lb.Retries{Attempts: 1, Least: 5, Status: statuses(t, "502")}, "GET", "", 503, "busy\n", false},
		{"no budget", dead, lb.Retries{Attempts: 1}, "GET", "", 502, "502 Bad Gateway\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pool(t, upstream.Options{Name: "p", Retries: c.o}, c.bad, good())
			attempts := make(chan int, 10)
			addr := front(t, exchange.HandlerFunc(func(x *exchange.Exchange) {
				p.Serve(x)
				attempts <- x.Attempts
			}))
			sawBad := false
			for range 2 { // in turns: one of them begins with the bad one
				status, text, _ := do(t, c.method, "http://"+addr, c.body)
				n := <-attempts
				if n == 1 && text == "good "+c.body {
					continue // the good one was first
				}
				sawBad = true
				if status != c.status || text != c.text || (n == 2) != c.retried {
					t.Errorf("%d %q after %d attempts, want %d %q", status, text, n, c.status, c.text)
				}
			}
			if !sawBad {
				t.Error("the bad backend was never asked")
			}
		})
	}
}

// TestStaleConnection: a connection that the backend has closed is no failure.
func TestStaleConnection(t *testing.T) {
	closed := make(chan struct{}, 10)
	backend := raw(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		_ = c.Close()
		closed <- struct{}{}
	})
	addr := front(t, pool(t, upstream.Options{Name: "p"}, backend))
	for i, method := range []string{"GET", "GET", "POST", "POST", "GET"} {
		if status, text, _ := do(t, method, "http://"+addr, ""); status != 200 || text != "hi" {
			t.Errorf("request %d: %d %q", i, status, text)
		}
		<-closed
	}
}

// TestQueue: one request at a time, one that waits, and one too many.
func TestQueue(t *testing.T) {
	entered, leave := make(chan struct{}, 10), make(chan struct{})
	backend := origin(t, func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-leave
	})
	p := pool(t, upstream.Options{
		Name:        "p",
		Connections: lb.UpstreamConnections{Max: 1},
		Queue:       lb.Queue{Length: 1, Within: 10 * time.Second},
	}, backend)
	addr := front(t, p)
	results := make(chan int, 10)
	ask := func() {
		status, _, _ := do(t, "GET", "http://"+addr, "")
		results <- status
	}
	var wg sync.WaitGroup
	wg.Go(ask)
	<-entered
	wg.Go(ask)
	wg.Go(ask)
	if status := <-results; status != 503 {
		t.Errorf("one too many got %d", status)
	}
	close(leave)
	wg.Wait()
	if a, b := <-results, <-results; a != 200 || b != 200 {
		t.Errorf("the others got %d and %d", a, b)
	}
}

func TestQueueTimesOut(t *testing.T) {
	leave := make(chan struct{})
	backend := origin(t, func(http.ResponseWriter, *http.Request) { <-leave })
	p := pool(t, upstream.Options{
		Name:        "p",
		Connections: lb.UpstreamConnections{Max: 1},
		Queue:       lb.Queue{Length: 9, Within: 20 * time.Millisecond},
	}, backend)
	addr := front(t, p)
	results := make(chan int, 2)
	for range 2 {
		go func() {
			status, _, _ := do(t, "GET", "http://"+addr, "")
			results <- status
		}()
	}
	if status := <-results; status != 503 {
		t.Errorf("got %d", status)
	}
	close(leave)
	if status := <-results; status != 200 {
		t.Errorf("got %d", status)
	}
}

func TestSticky(t *testing.T) {
	var backends []string
	for i := range 4 {
		backends = append(backends, origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, i) }))
	}
	sticky, err := balance.NewSticky(balance.StickyOptions{Cookie: "b", Pool: "p", Keys: [][]byte{make([]byte, 32)}})
	if err != nil {
		t.Fatal(err)
	}
	addr := front(t, pool(t, upstream.Options{Name: "p", Sticky: sticky}, backends...))
	_, first, header := do(t, "GET", "http://"+addr, "")
	cookie, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
	for range 10 {
		_, text, header := do(t, "GET", "http://"+addr, "", "a=c; "+cookie+"; d=e")
		if text != first || header.Get("Set-Cookie") != "" {
			t.Fatalf("backend %s, then %s, %v", first, text, header)
		}
	}
	if _, _, header := do(t, "GET", "http://"+addr, "", cookie+"x"); header.Get("Set-Cookie") == "" {
		t.Error("a cookie that was changed was taken")
	}
}

func TestNoBackend(t *testing.T) {
	if status, _, _ := do(t, "GET", "http://"+front(t, pool(t, upstream.Options{Name: "p"})), ""); status != 503 {
		t.Errorf("got %d", status)
	}
}

// TestEjected: a backend that answers badly is not asked for a while.
func TestEjected(t *testing.T) {
	var bad atomic.Int32
	backends := []string{
		origin(t, func(w http.ResponseWriter, _ *http.Request) { bad.Add(1); http.Error(w, "no", 500) }),
		origin(t, func(http.ResponseWriter, *http.Request) {}),
		origin(t, func(http.ResponseWriter, *http.Request) {}),
	}
	addr := front(t, pool(t, upstream.Options{Name: "p", Ejection: lb.Ejection{Errors: 3, Percent: 10, Base: time.Minute}}, backends...))
	for range 30 {
		do(t, "GET", "http://"+addr, "")
	}
	if bad.Load() != 3 {
		t.Errorf("it was asked %d times", bad.Load())
	}
}

// TestShortBodyIsAwaited: a backend gets a short body at once, however slowly
// it comes, and is not asked at all if it does not.
func TestShortBodyIsAwaited(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 1000)
			n, _ := c.Read(b)
			first <- string(b[:n])
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			_ = c.Close()
		}
	}()
	addr := front(t, pool(t, upstream.Options{Name: "p"}, l.Addr().String()))
	say := func(pieces ...string) net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pieces {
			_, _ = io.WriteString(c, p)
		}
		return c
	}
	const head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
	_ = say(head, "a").Close()
	defer say(head, "a", "b", "c").Close()
	if got := <-first; got != head+"abc" {
		t.Errorf("the backend got %q", got)
	}
}

// TestH2Failures: what clients do is no fault of a backend, lateness is.
func TestH2Failures(t *testing.T) {
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			<-r.Context().Done()
		}
	}))
	backend.Config.Protocols = new(http.Protocols)
	backend.Config.Protocols.SetUnencryptedHTTP2(true)
	backend.Start()
	t.Cleanup(backend.Close)
	good := backend.Listener.Addr().String()
	o := upstream.Options{Name: "p", Protocol: lb.UpstreamH2C, Retries: lb.Retries{Within: 50 * time.Millisecond}}
	for _, c := range []struct{ name, backend, request, want string }{
		{"no host", good, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 "},
		{"late", good, "GET /late HTTP/1.0\r\n\r\n", "HTTP/1.1 504 "},
		{"bad escape", good, "GET /%zz HTTP/1.0\r\n\r\n", "HTTP/1.1 400 "},
		{"refused", closed(t), "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 502 "},
	} {
		conn, err := net.Dial("tcp", front(t, pool(t, o, c.backend)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, c.request)
		if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), c.want) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		_ = conn.Close()
	}
}

// TestClientGoneOverH2: a stream to a backend ends when its client, of
// HTTP/1.1, has left.
func TestClientGoneOverH2(t *testing.T) {
	ended := make(chan struct{})
	backend := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	}))
	backend.Config.Protocols = new(http.Protocols)
	backend.Config.Protocols.SetUnencryptedHTTP2(true)
	backend.Start()
	t.Cleanup(backend.Close)
	p := pool(t, upstream.Options{Name: "p", Protocol: lb.UpstreamH2C}, backend.Listener.Addr().String())
	c, err := net.Dial("tcp", front(t, p))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, get)
	_ = c.Close()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the stream is still open")
	}
}
