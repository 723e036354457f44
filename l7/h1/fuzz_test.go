package h1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"weir/l7/exchange"
)

// ours is what the fuzz targets compare: fields that both readers keep, in
// order, names in small letters.
func ours(h *exchange.Header) (all []string) {
	for _, f := range h.Fields() {
		all = append(all, strings.ToLower(string(f.Text))+": "+string(f.Value))
	}
	slices.Sort(all)
	return all
}

// theirs is the same of net/http's, without the fields in which ours has less.
func theirs(h http.Header, ours []string) (all []string) {
	for name, values := range h {
		for _, v := range values {
			field := strings.ToLower(name) + ": " + v
			if slices.Contains(ours, field) || !connectionsOwn(h, name) {
				all = append(all, field)
			}
		}
	}
	slices.Sort(all)
	return all
}

func connectionsOwn(h http.Header, name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Expect", "Http2-Settings", "Upgrade", "Content-Length":
		return true
	}
	for _, list := range h["Connection"] {
		for option := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.Trim(option, " \t"), name) {
				return true
			}
		}
	}
	return false
}

// FuzzRequest: whatever is taken, net/http reads alike: the same request, and
// the same bytes after it.
func FuzzRequest(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /a?b HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\nabcGET",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\nGET",
		"GET http://B/c HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\nX: y\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nA:\t b \r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var r exchange.Request
		var m message
		_, err := parseRequest(bytes.Clone(in), &r, &m, 100)
		if err != nil {
			var broken *Error
			if !errors.As(err, &broken) && err != errIncomplete {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		in = bytes.TrimPrefix(in, []byte("\r\n"))
		reader := bufio.NewReader(bytes.NewReader(in))
		request, err := http.ReadRequest(reader)
		if err != nil {
			return // stricter than we are: nothing is read differently
		}
		sameRequest(t, &r, request)
		sameBody(t, in[len(in)-rest(t, in):], &r, request, reader)
	})
}

// rest is how many bytes follow the head of in.
func rest(t *testing.T, in []byte) int {
	_, after, found := bytes.Cut(in, []byte("\r\n\r\n"))
	if !found {
		t.Fatalf("a head without an end was taken: %q", in)
	}
	return len(after)
}

func sameRequest(t *testing.T, r *exchange.Request, want *http.Request) {
	if string(r.Method) != want.Method || r.Protocol.String() != want.Proto {
		t.Errorf("%s %s, net/http: %s %s", r.Method, r.Protocol, want.Method, want.Proto)
	}
	if string(r.Authority) != strings.ToLower(want.Host) {
		t.Errorf("authority %q, net/http: %q", r.Authority, want.Host)
	}
	if want.Method != http.MethodConnect && !strings.Contains(want.RequestURI, "://") {
		target := string(r.Path)
		if _, _, has := strings.Cut(want.RequestURI, "?"); has {
			target += "?" + string(r.Query)
		}
		if target != want.RequestURI {
			t.Errorf("target %q, net/http: %q", target, want.RequestURI)
		}
	}
	if r.Length != want.ContentLength {
		t.Errorf("length %d, net/http: %d", r.Length, want.ContentLength)
	}
	got := ours(&r.Header)
	if fields := theirs(want.Header, got); !slices.Equal(got, fields) {
		t.Errorf("fields %q, net/http: %q", got, fields)
	}
}

func sameBody(t *testing.T, in []byte, r *exchange.Request, want *http.Request, reader *bufio.Reader) {
	body, err := io.ReadAll(want.Body)
	if err != nil || r.Length >= 0 && int64(len(in)) < r.Length {
		return
	}
	left, _ := io.ReadAll(reader)
	if r.Length >= 0 {
		if string(in[:r.Length]) != string(body) || string(in[r.Length:]) != string(left) {
			t.Errorf("body %q then %q, net/http: %q then %q", in[:r.Length], in[r.Length:], body, left)
		}
		return
	}
	data, _, rest, err := decode(string(in), 7)
	if err == nil && (data != string(body) || string(in[len(in)-rest:]) != string(left)) {
		t.Errorf("chunks %q then %q, net/http: %q then %q", data, in[len(in)-rest:], body, left)
	}
}

// FuzzResponse: whatever is taken of a backend, net/http reads alike.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.0 404 Not Found\r\n\r\nno",
		"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n", "HTTP/1.1 204 \r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var r exchange.Response
		var m message
		n, protocol, err := parseResponse(bytes.Clone(in), &r, &m, 100)
		if err != nil {
			return
		}
		how, err := m.frameResponse(&r, protocol, false)
		if err != nil {
			return
		}
		want, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), nil)
		if err != nil {
			return
		}
		if r.Status != want.StatusCode || protocol.String() != want.Proto {
			t.Errorf("%d %s, net/http: %s %s", r.Status, protocol, want.Status, want.Proto)
		}
		got := ours(&r.Header)
		if fields := theirs(want.Header, got); !slices.Equal(got, fields) {
			t.Errorf("fields %q, net/http: %q", got, fields)
		}
		body, err := io.ReadAll(want.Body)
		if err != nil || r.Status < 200 {
			return
		}
		if data, whole := readBody(in[n:], how, r.Length); whole && data != string(body) {
			t.Errorf("body %q, net/http: %q", data, body)
		}
	})
}

func readBody(in []byte, how framing, length int64) (data string, whole bool) {
	switch how {
	case counted:
		return string(in[:min(length, int64(len(in)))]), int64(len(in)) >= length
	case chunked:
		data, _, _, err := decode(string(in), 5)
		return data, err == nil
	case untilEnd:
		return string(in), true
	}
	return "", true
}

// FuzzChunks: where a chunked body is cut by the network does not matter, and
// what is taken is framed again to the same.
func FuzzChunks(f *testing.F) {
	for _, seed := range []string{"0\r\n\r\n", "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nGET", "1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		data, trailer, rest, err := decode(string(in), len(in)+1)
		for _, step := range []int{1, 3} {
			data2, trailer2, rest2, err2 := decode(string(in), step)
			if (err == nil) != (err2 == nil) || err == nil && (data != data2 || trailer != trailer2 || rest != rest2) {
				t.Fatalf("at once: %q %q %d %v; by %d: %q %q %d %v", data, trailer, rest, err, step, data2, trailer2, rest2, err2)
			}
		}
		if err != nil || len(data) == 0 {
			return
		}
		s := sender{}
		s.chunk([]byte(data))
		if again, _, _, err := decode(string(s.buf)+"0\r\n\r\n", 4); err != nil || again != data {
			t.Fatalf("%q framed again is %q, %v", data, again, err)
		}
	})
}

// FuzzForward: what a backend is sent for a request that was taken is one
// request, for us as for net/http, and says the same.
func FuzzForward(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST /a?b HTTP/1.0\r\nContent-Length: 0\r\nX: y\r\n\r\n",
		"PUT http://B/?c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade, x\r\nX: \x80\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var r, again exchange.Request
		var m message
		if _, err := parseRequest(bytes.Clone(in), &r, &m, 100); err != nil || string(r.Method) == http.MethodConnect {
			return
		}
		if r.Length != 0 {
			r.Body = &body{}
		}
		out, err := appendRequest(nil, &r)
		if err != nil {
			t.Fatalf("%q was taken and cannot be sent: %v", in, err)
		}
		n, err := parseRequest(bytes.Clone(out), &again, &m, 105)
		if err != nil || n != len(out) {
			t.Fatalf("%q is sent as %q: %d bytes, %v", in, out, n, err)
		}
		r.Protocol = exchange.HTTP11
		r.Header.DelKnown(exchange.TE) // the next hop's
		if got, want := describe(&again), describe(&r); got != want {
			t.Errorf("sent   %s\nbut it was %s", got, want)
		}
		reader := bufio.NewReader(bytes.NewReader(out))
		request, err := http.ReadRequest(reader)
		if err != nil {
			return // stricter than we are
		}
		sameRequest(t, &again, request)
		if left, _ := io.ReadAll(reader); r.Length == 0 && len(left) > 0 {
			t.Errorf("%q is more than one request", out)
		}
	})
}
