package tier_test

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"weir/l7/tier"
)

// long runs tests at the sizes that they are meant for, not only briefly.
func long() bool { return os.Getenv("WEIR_LONG") != "" }

// backend serves a handler, HTTP/2 without TLS too.
func backend(t testing.TB, h http.HandlerFunc) map[string][]tier.Backend {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return map[string][]tier.Backend{"a": {up(netip.MustParseAddrPort(s.Listener.Addr().String()))}}
}

// inUse is memory of the process that something refers to.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// echoUpgrade switches protocols and says everything again.
func echoUpgrade(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Key") == "" {
		http.Error(w, "no upgrade", http.StatusBadRequest)
		return
	}
	conn, both, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	_, _ = io.Copy(conn, both)
}

// socket is a WebSocket as far as a proxy can tell.
type socket struct {
	net.Conn
	in *bufio.Reader
}

func dialSocket(addr string) (*socket, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &socket{conn, bufio.NewReaderSize(conn, 256)}
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	answer, err := http.ReadResponse(s.in, nil)
	if err != nil {
		conn.Close()
		return nil, err
	}
	if answer.StatusCode != http.StatusSwitchingProtocols || answer.Header.Get("Sec-WebSocket-Accept") == "" {
		conn.Close()
		return nil, fmt.Errorf("answered %s", answer.Status)
	}
	return s, nil
}

func (s *socket) echo(text string) error {
	if _, err := io.WriteString(s, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(s.in, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("%q came back as %q", text, got)
	}
	return nil
}

// Many open WebSockets, each with its own echo; TestManyWebSockets has more.
func TestWebSockets(t *testing.T) {
	const count = 300
	r := start(t, twoPools+web+"{name: all, pool: a}]}\n", backend(t, echoUpgrade))
	before := inUse()
	sockets := make([]*socket, count)
	defer func() {
		for _, s := range sockets {
			if s != nil {
				s.Close()
			}
		}
	}()
	eachOf(t, count, func(i int) (err error) {
		sockets[i], err = dialSocket(r.addr)
		return err
	})
	for round := range 3 {
		eachOf(t, count, func(i int) error { return sockets[i].echo(fmt.Sprintf("round %d of socket %d", round, i)) })
	}
	grown := inUse() - before
	t.Logf("%d sockets, both ends in this process: %d KiB each", count, grown/int64(count)>>10)
	if grown/int64(count) > 192<<10 {
		t.Errorf("%d KiB for each socket", grown/int64(count)>>10)
	}
}

// pattern is a body of any length whose bytes tell where they are.
type pattern struct{ at, size int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.size-p.at))
	for i := range n {
		at := p.at + int64(i)
		b[i] = byte(at ^ at>>13 ^ at>>27)
	}
	p.at += int64(n)
	return n, nil
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// TestLargeBodies carries what fits no memory, both ways.
func TestLargeBodies(t *testing.T) {
	size := int64(96 << 20)
	if long() {
		size = 5 << 30
	}
	want := sha256.New()
	if _, err := io.Copy(want, &pattern{size: size}); err != nil {
		t.Fatal(err)
	}
	backends := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			h := sha256.New()
			_, err := io.Copy(h, r.Body)
			fmt.Fprint(w, sum(h), err)
			return
		}
		if r.URL.Path == "/sized" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		_, _ = io.Copy(w, &pattern{size: size}) // the client says if it is not whole
	})
	r := start(t, twoPools+web+"{name: all, pool: a}]}\n", backends)
	before := inUse()
	for _, path := range []string{"/sized", "/chunked"} {
		answer, err := r.stream().Get("http://example.org" + path)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		n, err := io.Copy(h, answer.Body)
		answer.Body.Close()
		if err != nil || n != size || sum(h) != sum(want) {
			t.Errorf("%s: %d bytes of %d, %v", path, n, size, err)
		}
		put, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://example.org"+path, &pattern{size: size})
		if err != nil {
			t.Fatal(err)
		}
		if path == "/sized" {
			put.ContentLength = size
		}
		answer, err = r.stream().Do(put)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || string(text) != sum(want)+"<nil>" {
			t.Errorf("PUT %s: %s, %v", path, text, err)
		}
	}
	if grown := inUse() - before; grown > 16<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

// stream is the client without a limit of time.
func (r *rig) stream() *http.Client { return &http.Client{Transport: r.http.Transport} }

// Each event arrives before the next is sent.
func TestServerSentEvents(t *testing.T) {
	next := make(chan bool)
	backends := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			fmt.Fprintf(w, "data: %d\n\n", i)
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			if !<-next {
				return
			}
		}
	})
	r := start(t, twoPools+web+"{name: all, pool: a, compress: {}}]}\n", backends)
	for _, accept := range []string{"identity", "gzip"} {
		ask, err := http.NewRequestWithContext(t.Context(), "GET", "http://example.org/", nil)
		if err != nil {
			t.Fatal(err)
		}
		ask.Header.Set("Accept-Encoding", accept)
		answer, err := r.stream().Do(ask)
		if err != nil {
			t.Fatal(err)
		}
		body := decoded(t, answer)
		for i := range 20 {
			for _, want := range []string{fmt.Sprintf("data: %d\n", i), "\n"} {
				if line, err := body.ReadString('\n'); err != nil || line != want {
					t.Fatalf("%s, event %d: %q, %v", accept, i, line, err)
				}
			}
			next <- i < 19
		}
		answer.Body.Close()
	}
}

// decoded is the body as it was before a coding.
func decoded(t *testing.T, answer *http.Response) *bufio.Reader {
	t.Helper()
	if answer.Header.Get("Content-Encoding") != "gzip" {
		return bufio.NewReader(answer.Body)
	}
	r, err := gzip.NewReader(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(r)
}
