package h1_test

import (
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/l7/exchange"
	"weir/l7/h1"
)

// serve runs a server on loopback until the test ends and gives its address.
func serve(t testing.TB, o h1.Options) (*h1.Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := h1.NewServer(o)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			remote := c.RemoteAddr().(*net.TCPAddr).AddrPort()
			go server.Serve(c, &exchange.Client{Listener: "test", Remote: remote})
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
	return server, l.Addr().String()
}

// send writes in to a new connection and reads all until the server closes it.
func send(t testing.TB, addr, in string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, in); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%v after %q", err, out)
	}
	return string(out)
}

// dated takes the Date fields out, which must be there.
func dated(t testing.TB, out string) string {
	t.Helper()
	for {
		before, rest, found := strings.Cut(out, "Date: ")
		if !found {
			return out
		}
		date, after, _ := strings.Cut(rest, "\r\n")
		if at, err := time.Parse(time.RFC1123, date); err != nil || time.Since(at).Abs() > time.Minute {
			t.Errorf("date %q, %v", date, err)
		}
		out = before + after
	}
}

// echo answers with what it was sent; the query says how.
var echo = exchange.HandlerFunc(func(x *exchange.Exchange) {
	body := ""
	if x.Request.Body != nil {
		b, err := io.ReadAll(x.Request.Body)
		if err != nil {
			x.Fail(400, err.Error())
			return
		}
		body = string(b)
	}
	r := &x.Response
	r.Status = 200
	switch text := string(x.Request.Method) + " " + string(x.Request.Path) + " " + body; string(x.Request.Query) {
	case "unknown":
		r.Length, r.Body = exchange.Unknown, plain{strings.NewReader(text)}
	case "none":
		r.Status = 204
	case "unmodified":
		r.Status = 304
	case "broken":
		r.Header.Add("X-A", []byte("b\r\nX-B: c"))
		r.SetBytes([]byte(text))
	case "short":
		r.Length, r.Body = 100, plain{strings.NewReader(text)}
	case "large":
		n, _ := strconv.Atoi(string(x.Request.Header.GetText("X-Size")))
		r.Length, r.Body = int64(n), plain{io.LimitReader(zeros{}, int64(n))}
	default:
		r.SetBytes([]byte(text))
	}
})

type plain struct{ io.Reader }

func (plain) Close() error { return nil }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestServe(t *testing.T) {
	_, addr := serve(t, h1.Options{Handler: echo, Head: 8 << 10})
	const host, last = " HTTP/1.1\r\nHost: a\r\n", " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
	for _, c := range []struct{ name, in, want string }{
		{"get", "GET /a" + last + "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nGET /a "},
		{"1.0", "GET /a HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nGET /a "},
		{"1.0 that stays", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\nGET / " +
				"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nGET / "},
		{"pipelined", "GET /a" + host + "\r\nPOST /b" + host + "Content-Length: 3\r\n\r\nabcGET /c" + last + "\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nGET /a HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nPOST /b abc" +
				"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\nGET /c "},
		{"chunked", "POST /?unknown" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\nGET /?unknown" + last + "\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\nPOST / abcde\r\n0\r\n\r\n" +
				"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n6\r\nGET / \r\n0\r\n\r\n"},
		{"unknown length to 1.0", "GET /?unknown HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nGET / "},
		{"head", "HEAD /" + last + "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n"},
		{"head of unknown length", "HEAD /?unknown" + last + "\r\n", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
		{"204", "GET /?none" + last + "\r\n", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"304", "GET /?unmodified" + last + "\r\n", "HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n"},
		{"continue", "POST /" + last + "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
			"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nPOST / abc"},
		{"head that would be two", "GET /?broken" + host + "\r\n",
			"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 26\r\nConnection: close\r\n\r\n500 Internal Server Error\n"},
		{"body cut short", "GET /?short" + host + "\r\nGET /" + host + "\r\n",
			"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 16\r\nConnection: close\r\n\r\n502 Bad Gateway\n"},
		{"connect", "CONNECT a:1" + host + "\r\n", "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 23\r\nConnection: close\r\n\r\n405 Method Not Allowed\n"},
		{"malformed", "GET /" + host + "A : b\r\n\r\nGET /" + host + "\r\n", badRequest},
		{"malformed after another", "HEAD /" + host + "\r\nGET\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + badRequest},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00", badRequest},
		{"bare LF", "GET / HTTP/1.1\nHost: a\n\n", badRequest},
		{"malformed chunk", "POST /" + host + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", badRequest},
		{"large head", "GET /" + host + "X: " + strings.Repeat("a", 9000) + "\r\n\r\n", badRequest},
		{"large target", "GET /" + strings.Repeat("a", 9000) + host + "\r\n",
			"HTTP/1.1 414 Request URI Too Long\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 25\r\nConnection: close\r\n\r\n414 Request URI Too Long\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := dated(t, send(t, addr, c.in)); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestRequestsOfOneConnection(t *testing.T) {
	_, addr := serve(t, h1.Options{Handler: echo, Requests: 2})
	out := send(t, addr, strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 3))
	if got := strings.Count(out, "GET / "); got != 2 || !strings.Contains(out, "Connection: close\r\n\r\nGET / ") {
		t.Errorf("%d answers: %q", got, out)
	}
}

const badRequest = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 16\r\nConnection: close\r\n\r\n400 Bad Request\n"

func TestServeLargeBodies(t *testing.T) {
	_, addr := serve(t, h1.Options{Handler: echo})
	for _, size := range []int{1, 1000, 8000, 8192, 10_000, 64 << 10, 65<<10 + 1, 1 << 20} {
		in := "GET /?large HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Size: " + strconv.Itoa(size) + "\r\n\r\n"
		_, body, _ := strings.Cut(send(t, addr, in), "\r\n\r\n")
		if body != strings.Repeat("0", size) {
			t.Errorf("%d bytes: got %d", size, len(body))
		}
		sent := strings.Repeat("1", size)
		in = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n" + sent
		if _, body, _ = strings.Cut(send(t, addr, in), "\r\n\r\n"); body != "POST / "+sent {
			t.Errorf("%d bytes: got %d back", size, len(body))
		}
	}
}

// TestServeInPieces: where a message is cut by the network does not matter.
func TestServeInPieces(t *testing.T) {
	_, addr := serve(t, h1.Options{Handler: echo})
	const in = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	want := send(t, addr, in)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		for i := range len(in) {
			_, _ = io.WriteString(conn, in[i:i+1])
		}
	}()
	got, err := io.ReadAll(conn)
	if err != nil || dated(t, string(got)) != dated(t, want) {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
}
