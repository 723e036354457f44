// Package endtest holds an end of the tier to what every protocol owes: one
// suite for each that brings its own client.
package endtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"

	"weir/l7/exchange"
)

// Start serves a handler on loopback until the test ends, and gives a client
// that reaches it whatever host a URL names.
type Start func(t testing.TB, h exchange.HandlerFunc) *http.Client

// Run runs the suite.
func Run(t *testing.T, start Start) {
	t.Run("request", func(t *testing.T) { testRequest(t, start) })
	t.Run("response", func(t *testing.T) { testResponse(t, start) })
	t.Run("inform", func(t *testing.T) { testInform(t, start) })
	t.Run("streams", func(t *testing.T) { testStreams(t, start) })
	t.Run("large", func(t *testing.T) { testLarge(t, start) })
	t.Run("many", func(t *testing.T) { testMany(t, start) })
	t.Run("answered early", func(t *testing.T) { testEarly(t, start) })
	t.Run("given up", func(t *testing.T) { testGivenUp(t, start) })
}

// Answer is a response with its whole body.
type Answer struct {
	Status  int
	Length  int64
	Header  http.Header
	Trailer http.Header
	Text    string
}

// Ask makes one request and reads its answer.
func Ask(t testing.TB, c *http.Client, method, path string, body io.Reader) (Answer, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://Example.ORG"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Test", "a b")
	answer, err := c.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return Answer{answer.StatusCode, answer.ContentLength, answer.Header, answer.Trailer, string(text)}, err
}

func testRequest(t *testing.T, start Start) {
	got := make(chan string, 1)
	c := start(t, func(x *exchange.Exchange) {
		q := &x.Request
		body := ""
		if q.Body != nil {
			all, err := io.ReadAll(q.Body)
			if err != nil {
				t.Error(err)
			}
			body = string(all)
		}
		loopback := x.Client.Remote.Addr() == netip.MustParseAddr("127.0.0.1")
		got <- fmt.Sprintf("%s %s %s %d %q %q %t %t", q.Method, q.Target, q.Authority, q.Length,
			q.Header.GetText("x-test"), body, q.Header.Has(exchange.ContentLength), loopback)
		x.Response.Status = 204
	})
	for _, tt := range []struct {
		method, path string
		body         io.Reader
		want         string
	}{
		{"GET", "/a%2Fb/../c?x=1&y", nil, `GET /a%2Fb/../c?x=1&y example.org 0 "a b" "" false true`},
		{"POST", "/", strings.NewReader("text"), `POST / example.org 4 "a b" "text" false true`},
		{"GET", "/", io.MultiReader(strings.NewReader("te"), strings.NewReader("xt")), `GET / example.org -1 "a b" "text" false true`},
		{"PUT", "/", io.MultiReader(strings.NewReader("te"), strings.NewReader("xt")), `PUT / example.org -1 "a b" "text" false true`},
	} {
		answer, err := Ask(t, c, tt.method, tt.path, tt.body)
		if err != nil {
			t.Fatal(err)
		}
		if have := <-got; have != tt.want {
			t.Errorf("request\n%s, want\n%s", have, tt.want)
		}
		if answer.Status != 204 || answer.Text != "" {
			t.Errorf("%d %q", answer.Status, answer.Text)
		}
	}
}

// streamed is a body that ends with an error, or with fields behind it.
type streamed struct {
	io.Reader
	end     error
	trailer *exchange.Header
}

func (s streamed) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = s.end
	}
	return n, err
}
func (s streamed) Close() error              { return nil }
func (s streamed) Trailer() *exchange.Header { return s.trailer }

// response is what a handler answers and what its client must see.
type response struct {
	name    string
	method  string
	answer  func(*exchange.Exchange)
	want    string // status, length, type, X-A
	body    string
	trailer string
	fails   bool
}

func responses() []response {
	trailer := &exchange.Header{}
	trailer.Add("grpc-status", []byte("0"))
	broken := errors.New("broken")
	return []response{
		{name: "bytes", answer: func(x *exchange.Exchange) {
			x.Response.Status = 200
			x.Response.Header.Add("x-a", []byte("1"))
			x.Response.Header.Add("x-a", []byte("2"))
			x.Response.Header.AddKnown(exchange.Connection, []byte("close"))
			x.Response.Header.Add("Keep-Alive", []byte("5"))
			x.Response.SetBytes([]byte("hello"))
		}, want: `200 5 [] ["1" "2"]`, body: "hello"},
		{name: "type", answer: func(x *exchange.Exchange) {
			x.Response.Status = 404
			x.Response.Header.AddKnown(exchange.ContentType, []byte("a/b"))
		}, want: `404 0 ["a/b"] []`},
		{name: "head", method: "HEAD", answer: func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length = 200, 1234
		}, want: `200 1234 [] []`},
		{name: "no content", answer: func(x *exchange.Exchange) { x.Response.Status = 204 }, want: `204 0 [] []`},
		{name: "unknown length", answer: func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length = 200, exchange.Unknown
			x.Response.Body = streamed{strings.NewReader("stream"), io.EOF, trailer}
		}, want: `200 -1 [] []`, body: "stream", trailer: "0"},
		{name: "broken", answer: func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length = 200, exchange.Unknown
			x.Response.Body = streamed{strings.NewReader("half"), broken, nil}
		}, fails: true},
		{name: "shorter than said", answer: func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length = 200, 100
			x.Response.Body = streamed{strings.NewReader("short"), io.EOF, nil}
		}, fails: true},
		{name: "failed", answer: func(x *exchange.Exchange) { x.Fail(503, "no backend") },
			want: `503 24 ["text/plain; charset=utf-8"] []`, body: "503 Service Unavailable\n"},
		{name: "switches protocols", answer: func(x *exchange.Exchange) {
			a, _ := net.Pipe()
			x.Response.Status, x.Response.Tunnel = 101, a
		}, fails: true},
	}
}

func testResponse(t *testing.T, start Start) {
	for _, c := range responses() {
		t.Run(c.name, func(t *testing.T) {
			client := start(t, c.answer)
			answer, err := Ask(t, client, c.method, "/", nil)
			if c.fails {
				if err == nil {
					t.Fatalf("got %d %q as if it were whole", answer.Status, answer.Text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			h := answer.Header
			got := fmt.Sprintf("%d %d %q %q", answer.Status, answer.Length, h["Content-Type"], h["X-A"])
			if got != c.want || answer.Text != c.body || answer.Trailer.Get("Grpc-Status") != c.trailer {
				t.Errorf("got %s %q %q, want %s", got, answer.Text, answer.Trailer, c.want)
			}
			for _, name := range []string{"Connection", "Keep-Alive"} {
				if h.Get(name) != "" {
					t.Errorf("%s was sent", name)
				}
			}
		})
	}
}

func testInform(t *testing.T, start Start) {
	c := start(t, func(x *exchange.Exchange) {
		hints := &exchange.Header{}
		hints.Add("link", []byte("</a.css>; rel=preload"))
		if err := x.Inform(103, hints); err != nil {
			t.Error(err)
		}
		if err := x.Inform(101, hints); err == nil {
			t.Error("101 was sent")
		}
		x.Response.Status = 200
	})
	var seen []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			seen = append(seen, fmt.Sprint(code, h.Get("Link")))
			return nil
		},
	})
	r, err := http.NewRequestWithContext(ctx, "GET", "https://example.org/", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if want := []string{"103</a.css>; rel=preload"}; !slices.Equal(seen, want) || answer.Header.Get("Link") != "" {
		t.Errorf("saw %q, want %q; final Link %q", seen, want, answer.Header.Get("Link"))
	}
}

// Both ways at once: each part is answered before the next is sent.
func testStreams(t *testing.T, start Start) {
	c := start(t, func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Length = 200, exchange.Unknown
		x.Response.Body = x.Request.Body
	})
	reader, writer := io.Pipe()
	r, err := http.NewRequestWithContext(t.Context(), "POST", "https://example.org/", reader)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	for i := range 100 {
		sent := fmt.Appendf(nil, "message %d", i)
		if _, err := writer.Write(sent); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(answer.Body, got); err != nil || !bytes.Equal(got, sent) {
			t.Fatalf("%q, %v, want %q", got, err, sent)
		}
	}
	writer.Close()
	if rest, err := io.ReadAll(answer.Body); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
}

func echo(x *exchange.Exchange) {
	x.Response.Status, x.Response.Length = 200, x.Request.Length
	x.Response.Body = x.Request.Body
}

// Bodies far larger than any window, both ways at once.
func testLarge(t *testing.T, start Start) {
	counted := make(chan int64, 2)
	c := start(t, func(x *exchange.Exchange) {
		x.Ended = func(x *exchange.Exchange) { counted <- x.Received - x.Sent }
		echo(x)
	})
	sent := make([]byte, 8<<20)
	for i := range sent {
		sent[i] = byte(i >> 8 * 31 >> uint(i%8))
	}
	for _, body := range []io.Reader{bytes.NewReader(sent), io.MultiReader(bytes.NewReader(sent))} {
		answer, err := Ask(t, c, "POST", "/", body)
		if err != nil {
			t.Fatal(err)
		}
		if answer.Status != 200 || answer.Text != string(sent) {
			t.Errorf("%d, %d bytes that differ from what was sent", answer.Status, len(answer.Text))
		}
		if more := <-counted; more != 0 {
			t.Errorf("%d more bytes were counted on the way in than on the way out", more)
		}
	}
}

func testMany(t *testing.T, start Start) {
	c := start(t, echo)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			for j := range 20 {
				sent := strings.Repeat(fmt.Sprint(i, j, " "), 1+i*j)
				answer, err := Ask(t, c, "POST", "/", strings.NewReader(sent))
				if err != nil || answer.Text != sent {
					t.Errorf("request %d of %d: %v, %d bytes of %d", j, i, err, len(answer.Text), len(sent))
					return
				}
			}
		})
	}
	all.Wait()
}

// An answer that does not wait for the request's body is whole all the same, and
// the connection goes on.
func testEarly(t *testing.T, start Start) {
	c := start(t, func(x *exchange.Exchange) {
		x.Response.Status = 413
		x.Response.SetBytes([]byte("too large"))
	})
	for range 3 {
		reader, writer := io.Pipe()
		answer, err := Ask(t, c, "POST", "/", reader)
		writer.Close()
		if err != nil || answer.Status != 413 || answer.Text != "too large" {
			t.Fatalf("%v, %q", err, answer.Text)
		}
	}
}

// A client that gives up ends the exchange's context.
func testGivenUp(t *testing.T, start Start) {
	entered, ended := make(chan bool), make(chan error, 1)
	c := start(t, func(x *exchange.Exchange) {
		entered <- true
		<-x.Context().Done()
		ended <- x.Context().Err()
		x.Response.Status = 200
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", "https://example.org/", nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		answer, err := c.Do(r)
		if err == nil {
			answer.Body.Close()
		}
		failed <- err
	}()
	<-entered
	cancel()
	if err := <-failed; err == nil {
		t.Error("the request succeeded")
	}
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}
