package h1_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/l7/exchange"
	"weir/l7/h1"
)

// client is a connection of a test.
type client struct {
	t testing.TB
	*net.TCPConn
	r *bufio.Reader
}

func connect(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (c *client) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads an answer and gives its status and body.
func (c *client) answer() (int, string) {
	c.t.Helper()
	response, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (c *client) wantAnswer(body string) {
	c.t.Helper()
	if status, got := c.answer(); status != 200 || got != body {
		c.t.Fatalf("got %d %q, want %q", status, got, body)
	}
}

func (c *client) wantEnd() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err != io.EOF {
		c.t.Fatalf("got %q, %v, want the end", b, err)
	}
}

const getA = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"

// TestQuickRequests: requests that follow each other quickly are served another
// way than others, and whatever comes in between is noticed.
func TestQuickRequests(t *testing.T) {
	_, addr := serve(t, h1.Options{Handler: echo})
	for _, c := range []struct {
		name string
		then func(c *client)
	}{
		{"body", func(c *client) {
			c.say("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
			c.wantAnswer("POST /b abc")
		}},
		{"body that comes later", func(c *client) {
			c.say("POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
			c.say("3\r\nabc\r\n0\r\n\r\n")
			c.wantAnswer("POST /b abc")
		}},
		{"pipelined", func(c *client) {
			c.say(getA + getA + getA)
			for range 3 {
				c.wantAnswer("GET /a ")
			}
		}},
		{"pipelined behind", func(c *client) {
			c.say(getA)
			c.say(getA)
			c.say(getA)
			for range 3 {
				c.wantAnswer("GET /a ")
			}
		}},
		{"in pieces", func(c *client) {
			for _, b := range getA {
				c.say(string(b))
			}
			c.wantAnswer("GET /a ")
		}},
		{"long head", func(c *client) {
			c.say(strings.Replace(getA, "Host", "X: "+strings.Repeat("x", 10_000)+"\r\nHost", 1))
			c.wantAnswer("GET /a ")
		}},
		{"pause", func(c *client) {
			time.Sleep(700 * time.Millisecond) // more than quick requests wait
			c.say(getA)
			c.wantAnswer("GET /a ")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, addr)
			quick := func() {
				for range 5 {
					conn.say(getA)
					conn.wantAnswer("GET /a ")
				}
			}
			quick()
			c.then(conn)
			quick()
			conn.say(getA)
			_ = conn.CloseWrite()
			conn.wantAnswer("GET /a ")
			conn.wantEnd()
		})
	}
	t.Run("malformed", func(t *testing.T) {
		conn := connect(t, addr)
		for range 5 {
			conn.say(getA)
			conn.wantAnswer("GET /a ")
		}
		conn.say("GET\r\n\r\n")
		if status, _ := conn.answer(); status != 400 {
			t.Errorf("got %d", status)
		}
		conn.wantEnd()
	})
	t.Run("close", func(t *testing.T) {
		conn := connect(t, addr)
		for range 5 {
			conn.say(getA)
			conn.wantAnswer("GET /a ")
		}
		conn.say("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		conn.wantAnswer("GET /a ")
		conn.wantEnd()
	})
}

func TestDrain(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	server, addr := serve(t, h1.Options{Handler: exchange.HandlerFunc(func(x *exchange.Exchange) {
		if string(x.Request.Path) == "/wait" {
			entered <- struct{}{}
			<-leave
		}
		echo(x)
	})})
	idle, quick, busy := connect(t, addr), connect(t, addr), connect(t, addr)
	idle.say(getA)
	idle.wantAnswer("GET /a ")
	for range 5 {
		quick.say(getA)
		quick.wantAnswer("GET /a ")
	}
	busy.say("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
	<-entered
	server.Drain()
	idle.wantEnd()
	quick.wantEnd()
	late := connect(t, addr)
	late.wantEnd()
	close(leave)
	response, err := http.ReadResponse(busy.r, nil)
	if err != nil || response.StatusCode != 200 || !response.Close {
		t.Fatalf("%v, %v", response, err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	busy.wantEnd()
	for server.Open() > 0 {
		time.Sleep(time.Millisecond)
	}
}

// TestSlowClients: who takes too long is cut off, with an answer where that
// helps.
func TestSlowClients(t *testing.T) {
	const soon = 50 * time.Millisecond
	_, addr := serve(t, h1.Options{
		Idle: soon, Header: soon, Body: soon, Write: soon, BodyRate: 1 << 20,
		Handler: echo,
	})
	t.Run("nothing", func(t *testing.T) { connect(t, addr).wantEnd() })
	t.Run("header", func(t *testing.T) {
		c := connect(t, addr)
		c.say("GET / HTTP/1.1\r\n")
		if status, _ := c.answer(); status != 408 {
			t.Errorf("got %d", status)
		}
		c.wantEnd()
	})
	drip := func(t *testing.T, c *client, piece string) {
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				case <-time.After(soon / 5):
					if _, err := io.WriteString(c, piece); err != nil {
						return
					}
				}
			}
		}()
		t.Cleanup(func() { close(stop); <-done })
	}
	t.Run("header byte by byte", func(t *testing.T) {
		c := connect(t, addr)
		c.say("GET / HTTP/1.1\r\nX: ")
		drip(t, c, "a")
		if status, _ := c.answer(); status != 408 {
			t.Errorf("got %d", status)
		}
	})
	t.Run("body", func(t *testing.T) {
		c := connect(t, addr)
		c.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
		if status, _ := c.answer(); status != 400 { // as echo says
			t.Errorf("got %d", status)
		}
	})
	t.Run("body byte by byte", func(t *testing.T) {
		c := connect(t, addr)
		c.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
		drip(t, c, "a")
		if status, _ := c.answer(); status != 400 {
			t.Errorf("got %d", status)
		}
	})
	t.Run("slow handler", func(t *testing.T) { // which is not the client's fault
		_, addr := serve(t, h1.Options{Body: soon, BodyRate: 1 << 20, Handler: exchange.HandlerFunc(func(x *exchange.Exchange) {
			n := int64(0)
			for err := error(nil); err == nil; time.Sleep(soon) {
				var more int64
				more, err = io.CopyN(io.Discard, struct{ io.Reader }{x.Request.Body}, 40_000)
				n += more
			}
			x.Response.Status = 200
			x.Response.SetBytes([]byte(strconv.FormatInt(n, 10)))
		})})
		c := connect(t, addr)
		c.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("a", 200_000))
		c.wantAnswer("200000")
	})
	t.Run("reader", func(t *testing.T) {
		c := connect(t, addr)
		_ = c.SetReadBuffer(4096)
		c.say("GET /?large HTTP/1.1\r\nHost: a\r\nX-Size: 100000000\r\n\r\n")
		time.Sleep(10 * soon)
		n, err := io.Copy(io.Discard, c.r)
		if n >= 100_000_000 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

// TestPanic: a handler that panics costs its connection and nothing else.
func TestPanic(t *testing.T) {
	panicked := make(chan any, 10)
	_, addr := serve(t, h1.Options{
		Handler: exchange.HandlerFunc(func(x *exchange.Exchange) {
			if string(x.Request.Path) == "/panic" {
				panic("oh")
			}
			echo(x)
		}),
		Panicked: func(v any, stack []byte) {
			if !strings.Contains(string(stack), "TestPanic") {
				t.Errorf("stack %s", stack)
			}
			panicked <- v
		},
	})
	for _, before := range []int{0, 5} {
		c := connect(t, addr)
		for range before {
			c.say(getA)
			c.wantAnswer("GET /a ")
		}
		c.say("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n")
		c.wantEnd()
		if v := <-panicked; v != "oh" {
			t.Errorf("panicked with %v", v)
		}
	}
}
