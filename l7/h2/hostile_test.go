package h2

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"weir/l7/endtest"
	"weir/l7/exchange"
)

// raw is a client that says whatever it likes.
type raw struct {
	net.Conn
	*http2.Framer
	encoded bytes.Buffer
	encoder *hpack.Encoder
}

func dialRaw(t *testing.T, l net.Listener) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	r := &raw{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	r.encoder = hpack.NewEncoder(&r.encoded)
	if err := r.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *raw) block(fields ...string) []byte {
	r.encoded.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = r.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}) // into memory
	}
	return bytes.Clone(r.encoded.Bytes())
}

var request = []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/"}

// ended reads until the server ends the connection, or a stream. It tells how.
func (r *raw) ended(t *testing.T) string {
	t.Helper()
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return "closed"
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			return "goaway " + f.ErrCode.String()
		case *http2.RSTStreamFrame:
			return "reset " + f.ErrCode.String()
		case *http2.HeadersFrame:
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(f.HeaderBlockFragment())
			if err == nil && len(fields) > 0 {
				return fields[0].Value
			}
		}
	}
}

// flood repeats what a client does until the server has had enough, up to
// a bound that no server should bear.
func flood(t *testing.T, bound int, do func(i int) error) {
	t.Helper()
	for i := range bound {
		if do(i) != nil {
			return // broken off
		}
	}
}

// bears fails if a flood is borne to its end.
func bears(t *testing.T, bound int, do func(i int) error) {
	t.Helper()
	for i := range bound {
		if do(i) != nil {
			return
		}
	}
	t.Errorf("%d were borne", bound)
}

func TestFloods(t *testing.T) {
	for _, c := range []struct {
		name  string
		flood func(t *testing.T, r *raw)
	}{
		{"rapid reset", func(t *testing.T, r *raw) {
			bears(t, 20_000, func(i int) error {
				id := uint32(2*i + 1)
				if err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block(request...), EndHeaders: true, EndStream: true}); err != nil {
					return err
				}
				return r.WriteRSTStream(id, http2.ErrCodeCancel)
			})
		}},
		{"continuation", func(t *testing.T, r *raw) {
			if err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(request...)}); err != nil {
				t.Fatal(err)
			}
			filler := r.block("x-filler", strings.Repeat("x", 8000))
			flood(t, 20_000, func(int) error { return r.WriteContinuation(1, false, filler) })
		}},
		{"continuation without content", func(t *testing.T, r *raw) {
			if err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(request...)}); err != nil {
				t.Fatal(err)
			}
			bears(t, 200_000, func(int) error { return r.WriteContinuation(1, false, nil) })
		}},
		{"header bomb", func(t *testing.T, r *raw) {
			// One indexed field of 4,000 bytes costs one byte each time.
			value := strings.Repeat("b", 4000)
			first := r.block(append(request, "x-bomb", value)...)
			again := bytes.Repeat(r.block("x-bomb", value), 12_000)
			flood(t, 200, func(i int) error {
				block := again
				if i == 0 {
					block = append(first, again...)
				}
				return r.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block, EndHeaders: true, EndStream: true})
			})
		}},
		{"settings", func(t *testing.T, r *raw) {
			flood(t, 200_000, func(int) error {
				return r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 70_000})
			})
		}},
		{"pings that nobody reads the answers of", func(t *testing.T, r *raw) {
			flood(t, 200_000, func(int) error { return r.WritePing(false, [8]byte{}) })
		}},
		{"empty data", func(t *testing.T, r *raw) {
			if err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(":method", "POST", ":scheme", "http", ":authority", "a", ":path", "/"), EndHeaders: true}); err != nil {
				t.Fatal(err)
			}
			bears(t, 200_000, func(int) error { return r.WriteData(1, false, nil) })
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var now, most atomic.Int64
			_, l := serve(t, Options{MaxStreams: 16, WriteTimeout: time.Second}, func(x *exchange.Exchange) {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				<-x.Context().Done() // works on and on for who asked; others are served at once
				now.Add(-1)
				x.Response.Status = 200
			})
			_, good := serve(t, Options{}, func(x *exchange.Exchange) { x.Response.Status = 204 })
			before := resident()
			r := dialRaw(t, l)
			flooded := make(chan bool)
			go func() {
				defer close(flooded)
				c.flood(t, r)
			}()
			answer, err := endtest.Ask(t, client(t, good), "GET", "/", nil)
			if err != nil || answer.Status != 204 {
				t.Errorf("good client meanwhile: %v", err)
			}
			<-flooded
			if grown := resident() - before; grown > 32<<20 {
				t.Errorf("memory grew by %d MiB", grown>>20)
			}
			if m := most.Load(); m > 16 {
				t.Errorf("%d requests at once, the limit is 16", m)
			}
		})
	}
}

func resident() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// Pseudo-header and connection fields (RFC 9113, 8.2 and 8.3) never get to a
// handler.
func TestMalformed(t *testing.T) {
	with := func(more ...string) []string { return append(append([]string{}, request...), more...) }
	for _, c := range []struct {
		name   string
		fields []string
		end    bool
		want   string
	}{
		{"sound", request, true, "204"},
		{"no method", request[2:], true, "reset PROTOCOL_ERROR"},
		{"no scheme", []string{":method", "GET", ":authority", "a", ":path", "/"}, true, "reset PROTOCOL_ERROR"},
		{"no path", request[:6], true, "reset PROTOCOL_ERROR"},
		{"two paths", with(":path", "/b"), true, "reset PROTOCOL_ERROR"},
		{"unknown pseudo-header", append([]string{":protocoll", "x"}, request...), true, "reset PROTOCOL_ERROR"},
		{"pseudo-header of answers", append([]string{":status", "200"}, request...), true, "reset PROTOCOL_ERROR"},
		{"pseudo-header at the end", []string{":method", "GET", ":scheme", "http", ":authority", "a", "x-a", "b", ":path", "/"}, true, "reset PROTOCOL_ERROR"},
		{"upper case", with("X-Upper", "b"), true, "reset PROTOCOL_ERROR"},
		{"line break in a value", with("x-a", "b\r\nx-c: d"), true, "reset PROTOCOL_ERROR"},
		{"space in a name", with("x a", "b"), true, "reset PROTOCOL_ERROR"},
		{"host as authority", with("host", "a"), true, "204"},
		{"other host than authority", with("host", "b"), true, "reset PROTOCOL_ERROR"},
		{"two hosts", with("host", "a", "host", "b"), true, "reset PROTOCOL_ERROR"},
		{"connection", with("connection", "close"), true, "reset PROTOCOL_ERROR"},
		{"transfer-encoding", with("transfer-encoding", "chunked"), true, "reset PROTOCOL_ERROR"},
		{"upgrade", with("upgrade", "h2c"), true, "reset PROTOCOL_ERROR"},
		{"space in the path", []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/a b"}, true, "reset PROTOCOL_ERROR"},
		{"fragment in the path", []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "/a#b"}, true, "reset PROTOCOL_ERROR"},
		{"no path but an URL", []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "http://b/"}, true, "reset PROTOCOL_ERROR"},
		{"star", []string{":method", "GET", ":scheme", "http", ":authority", "a", ":path", "*"}, true, "reset PROTOCOL_ERROR"},
		{"star of OPTIONS", []string{":method", "OPTIONS", ":scheme", "http", ":authority", "a", ":path", "*"}, true, "204"},
		{"space in the method", []string{":method", "GET /", ":scheme", "http", ":authority", "a", ":path", "/"}, true, "reset PROTOCOL_ERROR"},
		{"user in the authority", []string{":method", "GET", ":scheme", "http", ":authority", "u@a", ":path", "/"}, true, "reset PROTOCOL_ERROR"},
		{"path in the authority", []string{":method", "GET", ":scheme", "http", ":authority", "a/b", ":path", "/"}, true, "reset PROTOCOL_ERROR"},
		{"no authority but host", []string{":method", "GET", ":scheme", "http", ":path", "/", "host", "a"}, true, "204"},
		{"neither authority nor host", []string{":method", "GET", ":scheme", "http", ":path", "/"}, true, "reset PROTOCOL_ERROR"},
		{"scheme", []string{":method", "GET", ":scheme", "ftp", ":authority", "a", ":path", "/"}, true, "reset PROTOCOL_ERROR"},
		{"connect", []string{":method", "CONNECT", ":authority", "a:1"}, true, "204"},
		{"connect with a path", []string{":method", "CONNECT", ":authority", "a:1", ":path", "/"}, true, "reset PROTOCOL_ERROR"},
		{"length without a body", with("content-length", "5"), true, "reset PROTOCOL_ERROR"},
		{"length that is none", with("content-length", "+0"), true, "reset PROTOCOL_ERROR"},
		{"two lengths", with("content-length", "0", "content-length", "0"), true, "reset PROTOCOL_ERROR"},
		{"space around a value", with("x-a", " b"), true, "reset PROTOCOL_ERROR"},
		{"te", with("te", "gzip"), true, "reset PROTOCOL_ERROR"},
		{"te: trailers", with("te", "trailers"), true, "204"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, l := serve(t, Options{}, func(x *exchange.Exchange) { x.Response.Status = 204 })
			r := dialRaw(t, l)
			if err := r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(c.fields...), EndHeaders: true, EndStream: c.end}); err != nil {
				t.Fatal(err)
			}
			if got := r.ended(t); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
