package compress

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"weir/l7/coding"
	"weir/l7/exchange"
)

var long = strings.Repeat("all work and no play ", 200)

func header(h *exchange.Header, lines string) {
	for line := range strings.SplitSeq(lines, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			h.Add(name, []byte(value))
		}
	}
}

// answer asks a filter in front of an answer of that body, whose length is
// unknown if stream.
func answer(t testing.TB, f *Filter, method, accept string, status int, fields, body string, stream bool) *exchange.Exchange {
	t.Helper()
	x := &exchange.Exchange{}
	x.Request.Method = []byte(method)
	if accept != "" {
		header(&x.Request.Header, accept)
	}
	f.Handler(exchange.HandlerFunc(func(x *exchange.Exchange) {
		x.Response.Status = status
		header(&x.Response.Header, fields)
		x.Response.Length = int64(len(body))
		x.Response.Prebuilt = []byte("as it was")
		switch {
		case method == "HEAD" || body == "":
		case stream:
			x.Response.Length, x.Response.Body = exchange.Unknown, io.NopCloser(strings.NewReader(body))
		default:
			x.Response.SetBytes([]byte(body))
		}
	})).Serve(x)
	return x
}

func plain(t testing.TB, c string, r io.Reader) string {
	t.Helper()
	var err error
	switch c {
	case "gzip":
		if r, err = gzip.NewReader(r); err != nil {
			t.Fatal(err)
		}
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		d, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		r = d
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func filter(t testing.TB, o Options) *Filter {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCompress(t *testing.T) {
	text := "Content-Type: text/plain; charset=utf-8"
	for _, c := range []struct {
		name, method, accept string
		options              Options
		status               int
		fields, body         string
		stream               bool
		coding, vary         string
	}{
		{"zstd", "GET", "Accept-Encoding: gzip, br, zstd", Options{}, 200, text, long, false, "zstd", "Accept-Encoding"},
		{"br", "GET", "Accept-Encoding: gzip, br", Options{}, 200, text, long, false, "br", "Accept-Encoding"},
		{"gzip", "GET", "Accept-Encoding: gzip", Options{}, 200, text, long, false, "gzip", "Accept-Encoding"},
		{"the client's weights", "GET", "Accept-Encoding: gzip, br;q=0.5", Options{}, 200, text, long, false, "gzip", "Accept-Encoding"},
		{"stream zstd", "GET", "Accept-Encoding: zstd", Options{}, 200, text, long, true, "zstd", "Accept-Encoding"},
		{"stream br", "GET", "Accept-Encoding: br", Options{}, 200, text, long, true, "br", "Accept-Encoding"},
		{"stream gzip", "GET", "Accept-Encoding: gzip", Options{Level: 9}, 200, text, long, true, "gzip", "Accept-Encoding"},
		{"error page", "GET", "Accept-Encoding: gzip", Options{}, 404, text, long, false, "gzip", "Accept-Encoding"},
		{"HEAD", "HEAD", "Accept-Encoding: gzip", Options{}, 200, text, long, false, "gzip", "Accept-Encoding"},
		{"any case", "GET", "Accept-Encoding: gzip", Options{}, 200, "Content-Type: Text/HTML", long, false, "gzip", "Accept-Encoding"},
		{"own types", "GET", "Accept-Encoding: gzip", Options{Types: []string{"x/y"}}, 200, "Content-Type: x/y", long, false, "gzip", "Accept-Encoding"},
		{"Vary is there", "GET", "Accept-Encoding: gzip", Options{}, 200, text + "\nVary: Cookie, accept-encoding", long, false, "gzip", "Cookie, accept-encoding"},
		{"Vary on all", "GET", "Accept-Encoding: gzip", Options{}, 200, text + "\nVary: *", long, false, "gzip", "*"},
		{"Vary on another", "GET", "Accept-Encoding: gzip", Options{}, 200, text + "\nVary: Cookie", long, false, "gzip", "Cookie, Accept-Encoding"},
		{"cookies, allowed", "GET", "Accept-Encoding: gzip", Options{Cookies: true}, 200, text + "\nSet-Cookie: a=b", long, false, "gzip", "Accept-Encoding"},

		{"not accepted", "GET", "Accept-Encoding: deflate", Options{}, 200, text, long, false, "", "Accept-Encoding"},
		{"nothing said", "GET", "", Options{}, 200, text, long, false, "", "Accept-Encoding"},
		{"not offered", "GET", "Accept-Encoding: gzip", Options{Codings: []coding.Coding{coding.Brotli}}, 200, text, long, false, "", "Accept-Encoding"},
		{"cookies", "GET", "Accept-Encoding: gzip", Options{}, 200, text + "\nSet-Cookie: a=b", long, false, "", ""},
		{"small", "GET", "Accept-Encoding: gzip", Options{}, 200, text, long[:1023], false, "", ""},
		{"other type", "GET", "Accept-Encoding: gzip", Options{}, 200, "Content-Type: image/png", long, false, "", ""},
		{"type that begins like it", "GET", "Accept-Encoding: gzip", Options{}, 200, "Content-Type: application/jsonx", long, false, "", ""},
		{"no type", "GET", "Accept-Encoding: gzip", Options{}, 200, "", long, false, "", ""},
		{"compressed already", "GET", "Accept-Encoding: gzip, br", Options{}, 200, text + "\nContent-Encoding: br", long, false, "br", ""},
		{"no-transform", "GET", "Accept-Encoding: gzip", Options{}, 200, text + "\nCache-Control: public, No-Transform", long, false, "", ""},
		{"no-transform of the client", "GET", "Accept-Encoding: gzip\nCache-Control: no-transform", Options{}, 200, text, long, false, "", ""},
		{"a part", "GET", "Accept-Encoding: gzip", Options{}, 206, text + "\nContent-Range: bytes 0-4199/9999", long, false, "", ""},
		{"no content", "GET", "Accept-Encoding: gzip", Options{}, 204, text, "", false, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := answer(t, filter(t, c.options), c.method, c.accept, c.status, c.fields, c.body, c.stream)
			r := &x.Response
			if got := string(r.Header.Get(exchange.ContentEncoding)); got != c.coding {
				t.Errorf("Content-Encoding %q, want %q", got, c.coding)
			}
			var vary []string
			for v := range r.Header.Values("Vary") {
				vary = append(vary, string(v))
			}
			if got := strings.Join(vary, ", "); got != c.vary {
				t.Errorf("Vary %q, want %q", got, c.vary)
			}
			untouched := c.vary == "" || c.name == "compressed already"
			if (r.Prebuilt != nil) != untouched {
				t.Errorf("prebuilt %q", r.Prebuilt)
			}
			if c.method == "HEAD" || c.status == 204 {
				return
			}
			body, err := io.ReadAll(r.Body)
			if err != nil || r.Length != exchange.Unknown && r.Length != int64(len(body)) {
				t.Fatalf("%d bytes of %d, %v", len(body), r.Length, err)
			}
			if c.coding != "" && !untouched && len(body) >= len(c.body) {
				t.Errorf("%d bytes became %d", len(c.body), len(body))
			}
			decoded := c.coding
			if untouched {
				decoded = ""
			}
			if got := plain(t, decoded, bytes.NewReader(body)); got != c.body {
				t.Errorf("body %.100q", got)
			}
			x.End()
		})
	}
}

func TestFieldsOfThePlainBytesGo(t *testing.T) {
	fields := "Content-Type: text/css\nETag: \"a\"\nAccept-Ranges: bytes\nContent-Digest: x\nRepr-Digest: y\nX-Other: z"
	x := answer(t, filter(t, Options{}), "GET", "Accept-Encoding: gzip", 200, fields, long, false)
	h := &x.Response.Header
	if string(h.Get(exchange.ETag)) != `W/"a"` || h.Has(exchange.AcceptRanges) || h.GetText("Content-Digest") != nil ||
		h.GetText("Repr-Digest") != nil || string(h.GetText("X-Other")) != "z" {
		t.Errorf("fields %q", h.Fields())
	}
}

func TestTagOf304(t *testing.T) {
	for _, c := range []struct{ asked, tag, want string }{
		{`W/"a"`, `"a"`, `W/"a"`},
		{`"b", W/"a"`, `"a"`, `W/"a"`},
		{`"a"`, `"a"`, `"a"`},
		{`W/"a", "a"`, `"a"`, `"a"`},
		{`W/"b"`, `"a"`, `"a"`},
		{`W/"a"`, `W/"a"`, `W/"a"`},
	} {
		x := answer(t, filter(t, Options{}), "GET", "If-None-Match: "+c.asked, 304, "ETag: "+c.tag, "", false)
		if got := string(x.Response.Header.Get(exchange.ETag)); got != c.want {
			t.Errorf("asked %s, got %s: %s, want %s", c.asked, c.tag, got, c.want)
		}
	}
}

// events is a body that gives one event at a time, and waits to be asked.
type events struct {
	all   []string
	reads int
	err   error
}

func (e *events) Read(p []byte) (int, error) {
	if e.reads == len(e.all) {
		return 0, e.err
	}
	e.reads++
	return copy(p, e.all[e.reads-1]), nil
}

func (e *events) Close() error { return nil }

func TestEventsComeOneByOne(t *testing.T) {
	for _, c := range []coding.Coding{coding.Gzip, coding.Brotli, coding.Zstd} {
		for _, kind := range []string{"text/event-stream", "application/json"} {
			source := &events{all: []string{"data: one\n\n", "data: two\n\n"}, err: io.EOF}
			x := &exchange.Exchange{}
			x.Request.Method = []byte("GET")
			header(&x.Request.Header, "Accept-Encoding: "+c.String())
			filter(t, Options{}).Handler(exchange.HandlerFunc(func(x *exchange.Exchange) {
				x.Response.Status, x.Response.Length, x.Response.Body = 200, exchange.Unknown, source
				header(&x.Response.Header, "Content-Type: "+kind)
			})).Serve(x)
			var sofar bytes.Buffer
			buf := make([]byte, 4096)
			n, err := x.Response.Body.Read(buf)
			if err != nil || source.reads != 1 {
				t.Fatalf("%v %s: %d events were read for the first, %v", c, kind, source.reads, err)
			}
			sofar.Write(buf[:n])
			if got := beginning(c, sofar.Bytes(), len("data: one\n\n")); got != "data: one\n\n" {
				t.Errorf("%v %s: after the first event %q", c, kind, got)
			}
			rest, err := io.ReadAll(x.Response.Body)
			if err != nil {
				t.Fatal(err)
			}
			sofar.Write(rest)
			if got := plain(t, c.String(), &sofar); got != "data: one\n\ndata: two\n\n" {
				t.Errorf("%v %s: all %q", c, kind, got)
			}
			x.End()
		}
	}
}

// beginning decodes what can be decoded of a stream that is cut.
func beginning(c coding.Coding, b []byte, n int) string {
	var r io.Reader
	switch c {
	case coding.Gzip:
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return err.Error()
		}
		r = z
	case coding.Brotli:
		r = brotli.NewReader(bytes.NewReader(b))
	default:
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return err.Error()
		}
		defer z.Close()
		r = z
	}
	out := make([]byte, n)
	if _, err := io.ReadFull(r, out); err != nil {
		return err.Error()
	}
	return string(out)
}

func TestErrorOfTheOriginIsTheClients(t *testing.T) {
	broken := errors.New("connection lost")
	x := &exchange.Exchange{}
	x.Request.Method = []byte("GET")
	header(&x.Request.Header, "Accept-Encoding: gzip")
	filter(t, Options{}).Handler(exchange.HandlerFunc(func(x *exchange.Exchange) {
		x.Response.Status, x.Response.Length = 200, exchange.Unknown
		x.Response.Body = &events{all: []string{long}, err: broken}
		header(&x.Response.Header, "Content-Type: text/plain")
	})).Serve(x)
	if _, err := io.ReadAll(x.Response.Body); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v: an end without it would look whole", err, broken)
	}
	x.End()
}

// stuck is a body whose Read waits for Close.
type stuck struct{ closed chan struct{} }

func (s *stuck) Read([]byte) (int, error) {
	<-s.closed
	return 0, io.ErrClosedPipe
}

func (s *stuck) Close() error {
	close(s.closed)
	return nil
}

func TestCloseEndsARead(t *testing.T) {
	f := filter(t, Options{})
	b := &body{filter: f, coding: coding.Gzip, source: &stuck{make(chan struct{})}}
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := b.Read(make([]byte, 10)); err == nil {
			t.Error("read something")
		}
	})
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
}

func TestEncodersAreUsedAgain(t *testing.T) {
	f := filter(t, Options{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				c := []string{"gzip", "br", "zstd"}[rand.IntN(3)]
				text := long[:1024+rand.IntN(3000)]
				x := answer(t, f, "GET", "Accept-Encoding: "+c, 200, "Content-Type: text/plain", text, rand.IntN(2) == 0)
				if rand.IntN(4) == 0 { // given up
					_, _ = x.Response.Body.Read(make([]byte, 10))
					x.End()
					continue
				}
				if got := plain(t, c, x.Response.Body); got != text {
					t.Errorf("%s: %d bytes, want %d", c, len(got), len(text))
				}
				x.End()
			}
		})
	}
	all.Wait()
}

func TestRefusedOptions(t *testing.T) {
	for want, o := range map[string]Options{
		"level 10": {Level: 10}, "level -1": {Level: -1}, "min size -1": {MinSize: -1}, "coding 0": {Codings: []coding.Coding{coding.Identity}},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func BenchmarkCompress(b *testing.B) {
	f := filter(b, Options{})
	for _, c := range []string{"zstd", "br", "gzip"} {
		b.Run(c, func(b *testing.B) {
			b.SetBytes(int64(len(long)))
			for b.Loop() {
				x := answer(b, f, "GET", "Accept-Encoding: "+c, 200, "Content-Type: text/plain", long, false)
				x.End()
			}
		})
	}
}
