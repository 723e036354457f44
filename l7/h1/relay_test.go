package h1_test

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/l7/exchange"
	"weir/l7/h1"
)

// proxy is the simplest one: a connection to the backend for each exchange, or
// the one before if that can be used again.
func proxy(o h1.ClientOptions, backend string) exchange.Handler {
	dialer := h1.NewDialer(o)
	idle := make(chan *h1.Client, 100)
	return exchange.HandlerFunc(func(x *exchange.Exchange) {
		var c *h1.Client
		select {
		case c = <-idle:
		default:
			conn, err := net.Dial("tcp", backend)
			if err != nil {
				x.Fail(502, err.Error())
				return
			}
			c = dialer.Client(conn)
		}
		failure := c.Do(x)
		finish := func() {
			if c.Finish() {
				idle <- c
			}
		}
		if failure == nil {
			x.After(finish)
			return
		}
		finish()
		if failure.Timeout() {
			x.Fail(504, failure.Error())
		} else {
			x.Fail(502, failure.Error())
		}
	})
}

// script is a backend that serves each connection with f.
func script(t testing.TB, f func(net.Conn, *bufio.Reader)) string {
	t.Helper()
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
				f(c, bufio.NewReader(c))
			}()
		}
	}()
	return l.Addr().String()
}

// readHead reads up to an empty line.
func readHead(r *bufio.Reader) (head string) {
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		if head += line; err != nil {
			break
		}
	}
	return head
}

func TestRelay(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	const sent = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	const badGateway = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 16\r\nConnection: close\r\n\r\n502 Bad Gateway\n"
	const ok = "HTTP/1.1 200 OK\r\n"
	const gone = "Connection: close\r\n\r\n"
	for _, c := range []struct {
		name, in string
		asked    string // what the backend gets
		answer   string // what it answers, and closes
		out      string
	}{
		{"length", get, sent, ok + "Content-Length: 2\r\n\r\nhi", ok + "Content-Length: 2\r\n" + gone + "hi"},
		{"empty", get, sent, ok + "Content-Length: 0\r\n\r\n", ok + "Content-Length: 0\r\n" + gone},
		{"chunked", get, sent, ok + "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\nX-T: 1\r\n\r\n", ok + "Transfer-Encoding: chunked\r\n" + gone + "2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n"},
		{"until the end", get, sent, ok + "\r\nhi", ok + "Transfer-Encoding: chunked\r\n" + gone + "2\r\nhi\r\n0\r\n\r\n"},
		{"1.0", get, sent, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", ok + "Content-Length: 2\r\n" + gone + "hi"},
		{"no reason", get, sent, "HTTP/1.1 299\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 299 \r\nContent-Length: 2\r\n" + gone + "hi"},
		{"the connection's own fields", get, sent, ok + "Keep-Alive: x\r\nConnection: X-A, keep-alive\r\nX-A: 1\r\nX-B: 2\r\nProxy-Authenticate: y\r\nContent-Length: 0\r\n\r\n",
			ok + "X-B: 2\r\nProxy-Authenticate: y\r\nContent-Length: 0\r\n" + gone},
		{"head", "HEAD" + get[3:], "HEAD" + sent[3:], ok + "Content-Length: 2\r\n\r\n", ok + "Content-Length: 2\r\n" + gone},
		{"head of unknown length", "HEAD" + get[3:], "HEAD" + sent[3:], ok + "Transfer-Encoding: chunked\r\n\r\n", ok + gone},
		{"304 with a length", get, sent, "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n" + gone},
		{"204", get, sent, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n" + gone},
		{"103", get, sent, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n",
			"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "Content-Length: 0\r\n" + gone},
		{"100 unasked", get, sent, "HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n", ok + "Content-Length: 0\r\n" + gone},
		{"body", "POST" + get[3:len(get)-2] + "Content-Length: 2\r\n\r\nhi", "POST" + sent[3:len(sent)-2] + "Content-Length: 2\r\n\r\nhi", ok + "Content-Length: 0\r\n\r\n", ok + "Content-Length: 0\r\n" + gone},
		{"no body", "POST" + get[3:], "POST" + sent[3:len(sent)-2] + "Content-Length: 0\r\n\r\n", ok + "Content-Length: 0\r\n\r\n", ok + "Content-Length: 0\r\n" + gone},
		{"absolute target", "GET http://b/c?d" + get[5:], "GET /c?d HTTP/1.1\r\nHost: b\r\n\r\n", ok + "Content-Length: 0\r\n\r\n", ok + "Content-Length: 0\r\n" + gone},

		{"both framings", get, sent, ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", badGateway},
		{"two lengths", get, sent, ok + "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", badGateway},
		{"other coding", get, sent, ok + "Transfer-Encoding: gzip\r\n\r\nhi", badGateway},
		{"coding in 1.0", get, sent, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", badGateway},
		{"bare LF", get, sent, "HTTP/1.1 200 OK\nContent-Length: 0\n\n", badGateway},
		{"bare CR", get, sent, ok + "X: a\rb\r\nContent-Length: 0\r\n\r\n", badGateway},
		{"folded", get, sent, ok + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n", badGateway},
		{"odd status", get, sent, "HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", badGateway},
		{"status 600", get, sent, "HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n", badGateway},
		{"no HTTP", get, sent, "SSH-2.0-x\r\n\r\n", badGateway},
		{"nothing", get, sent, "", badGateway},
		{"half a head", get, sent, ok + "Content-", badGateway},
		{"half a body", get, sent, ok + "Content-Length: 5\r\n\r\nhi", ok + "Content-Length: 5\r\n" + gone + "hi"},
		{"half a chunk", get, sent, ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhi", ok + "Transfer-Encoding: chunked\r\n" + gone + "2\r\nhi\r\n"},
		{"101 unasked", get, sent, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", badGateway},
		{"many 103", get, sent, strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 20), strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 16) + badGateway},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := make(chan string, 1)
			backend := script(t, func(conn net.Conn, r *bufio.Reader) {
				head := readHead(r)
				body := make([]byte, len(c.asked)-len(head))
				_, _ = io.ReadFull(r, body)
				asked <- head + string(body)
				_, _ = io.WriteString(conn, c.answer)
			})
			_, addr := serve(t, h1.Options{Handler: proxy(h1.ClientOptions{}, backend)})
			got := dated(t, send(t, addr, c.in))
			if got != c.out {
				t.Errorf("got  %q\nwant %q", got, c.out)
			}
			if a := <-asked; a != c.asked {
				t.Errorf("asked %q\nwant  %q", a, c.asked)
			}
		})
	}
}

// TestRelayKeeps: connections of both sides carry several exchanges.
func TestRelayKeeps(t *testing.T) {
	var conns atomic.Int32
	backend := script(t, func(conn net.Conn, r *bufio.Reader) {
		conns.Add(1)
		for readHead(r) != "" {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
		}
	})
	_, addr := serve(t, h1.Options{Handler: proxy(h1.ClientOptions{}, backend)})
	const n = 20
	in := strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", n) + "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	if got := strings.Count(send(t, addr, in), "2\r\nhi\r\n0\r\n\r\n"); got != n+1 || conns.Load() != 1 {
		t.Errorf("%d answers over %d connections", got, conns.Load())
	}
}

func TestContinue(t *testing.T) {
	for _, c := range []struct {
		name, interim string
		want          string
	}{
		{"relayed", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
		{"refused", "", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"},
	} {
		t.Run(c.name, func(t *testing.T) {
			backend := script(t, func(conn net.Conn, r *bufio.Reader) {
				if head := readHead(r); !strings.Contains(head, "Expect: 100-continue\r\n") {
					t.Errorf("the backend was asked %q", head)
				}
				if c.interim != "" {
					_, _ = io.WriteString(conn, c.interim)
					_, _ = io.ReadFull(r, make([]byte, 3))
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
			})
			_, addr := serve(t, h1.Options{Handler: proxy(h1.ClientOptions{Continue: time.Minute}, backend)})
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
			r := bufio.NewReader(conn)
			got := readHead(r)
			if strings.HasPrefix(got, "HTTP/1.1 100") {
				_, _ = io.WriteString(conn, "abc")
				got += readHead(r)
			}
			rest := make([]byte, 5)
			_, _ = io.ReadFull(r, rest)
			if got = dated(t, got+string(rest)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestContinueUnknown: a backend that does not know of 100 gets the body after
// a while.
func TestContinueUnknown(t *testing.T) {
	backend := script(t, func(conn net.Conn, r *bufio.Reader) {
		readHead(r)
		_, _ = io.ReadFull(r, make([]byte, 3))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	_, addr := serve(t, h1.Options{Handler: proxy(h1.ClientOptions{Continue: 10 * time.Millisecond}, backend)})
	got := dated(t, send(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nabc"))
	if want := "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUpgrade(t *testing.T) {
	backend := script(t, func(conn net.Conn, r *bufio.Reader) {
		if head := readHead(r); !strings.Contains(head, "Upgrade: WebSocket\r\n") || !strings.Contains(head, "Connection: Upgrade\r\n") {
			t.Errorf("the backend was asked %q", head)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst")
		_, _ = io.Copy(conn, r)
		_, _ = io.WriteString(conn, "last")
	})
	_, addr := serve(t, h1.Options{Handler: proxy(h1.ClientOptions{}, backend)})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\r\nsecond")
	r := bufio.NewReader(conn)
	if head := dated(t, readHead(r)); head != "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" {
		t.Fatalf("got %q", head)
	}
	want := func(text string) {
		t.Helper()
		b := make([]byte, len(text))
		if _, err := io.ReadFull(r, b); err != nil || string(b) != text {
			t.Fatalf("got %q, %v, want %q", b, err, text)
		}
	}
	want("firstsecond")
	for range 10 {
		_, _ = io.WriteString(conn, "ping")
		want("ping")
	}
	large := strings.Repeat("0123456789abcdef", 1<<16)
	go func() {
		_, _ = io.WriteString(conn, large)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	want(large + "last")
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

// TestUpgradeRequired: the field goes with its option (RFC 9110, 7.8).
func TestUpgradeRequired(t *testing.T) {
	_, addr := serve(t, h1.Options{Handler: exchange.HandlerFunc(func(x *exchange.Exchange) {
		x.Response.Status = 426
		x.Response.Header.Add("Upgrade", []byte("x"))
	})})
	c := connect(t, addr)
	c.say(getA)
	if head := dated(t, readHead(c.r)); head != "HTTP/1.1 426 Upgrade Required\r\nUpgrade: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\n\r\n" {
		t.Errorf("got %q", head)
	}
}

// TestBothWaysAtOnce: request and answer stream at the same time.
func TestBothWaysAtOnce(t *testing.T) {
	_, backend := serve(t, h1.Options{Handler: exchange.HandlerFunc(func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Length, x.Response.Body = 200, exchange.Unknown, x.Request.Body
	})})
	_, addr := serve(t, h1.Options{Handler: proxy(h1.ClientOptions{}, backend)})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	r := bufio.NewReader(conn)
	if head := dated(t, readHead(r)); head != "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" {
		t.Fatalf("got %q", head)
	}
	for i := range 20 {
		piece := "4\r\npi" + strconv.Itoa(10+i) + "\r\n"
		_, _ = io.WriteString(conn, piece)
		got := make([]byte, len(piece))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != piece {
			t.Fatalf("sent %q, got %q, %v", piece, got, err)
		}
	}
	_, _ = io.WriteString(conn, "0\r\nX-T: 1\r\n\r\n")
	if last := readHead(r); last != "0\r\nX-T: 1\r\n\r\n" {
		t.Errorf("the end is %q", last)
	}
}

// TestLarge: long bodies arrive whole both ways, whichever way they are framed.
func TestLarge(t *testing.T) {
	data := make([]byte, 5<<20+12345)
	_, _ = rand.Read(data)
	want := sha256.Sum256(data)
	backend := script(t, func(conn net.Conn, r *bufio.Reader) {
		head := readHead(r)
		body := make([]byte, len(data))
		if strings.Contains(head, "chunked") {
			size, _ := r.Peek(1)
			if len(size) == 0 {
				return
			}
		} else if _, err := io.ReadFull(r, body); err != nil || sha256.Sum256(body) != want {
			t.Errorf("the backend got another body, %v", err)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(len(data))+"\r\n\r\n")
		_, _ = conn.Write(data)
	})
	_, addr := serve(t, h1.Options{Handler: proxy(h1.ClientOptions{}, backend)})
	in := "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(data)) + "\r\n\r\n" + string(data)
	_, body, _ := strings.Cut(send(t, addr, in), "\r\n\r\n")
	if sha256.Sum256([]byte(body)) != want {
		t.Errorf("the client got %d other bytes", len(body))
	}
}

// TestEarlyAnswer: an answer before the end of the request's body gets through,
// and both connections end.
func TestEarlyAnswer(t *testing.T) {
	backend := script(t, func(conn net.Conn, r *bufio.Reader) {
		readHead(r)
		_, _ = io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n")
		_, _ = io.Copy(io.Discard, r)
	})
	_, addr := serve(t, h1.Options{Handler: proxy(h1.ClientOptions{}, backend)})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\nabc")
	got, err := io.ReadAll(conn)
	if err != nil || dated(t, string(got)) != "HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 3\r\n\r\nno\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestGone: a backend is not waited for when the client has left.
func TestGone(t *testing.T) {
	ended := make(chan struct{})
	backend := script(t, func(_ net.Conn, r *bufio.Reader) {
		readHead(r)
		_, _ = r.ReadByte() // fails when the connection is closed
		close(ended)
	})
	_, addr := serve(t, h1.Options{Handler: proxy(h1.ClientOptions{}, backend)})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	_ = conn.Close()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the backend is still waited for")
	}
}

func TestSlowBackend(t *testing.T) {
	backend := script(t, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
	_, addr := serve(t, h1.Options{Handler: proxy(h1.ClientOptions{Answer: 20 * time.Millisecond}, backend)})
	if got := send(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 504 ") {
		t.Errorf("got %q", got)
	}
}
