package tier_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/l7/tier"
)

// paced sends so many bytes, piece by piece, and echoes what an upgraded
// connection says.
func paced(pieces int, pause time.Duration) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("/download", func(w http.ResponseWriter, r *http.Request) {
		for i := range pieces {
			if _, err := w.Write(bytes.Repeat([]byte{byte(i)}, 32<<10)); err != nil {
				return
			}
			select {
			case <-time.After(pause):
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("/upgrade", func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	})
	return mux
}

// A reload closes no connection and fails no request, though it replaces the
// ends of the listener, the pool and the routes.
func TestReloadsUnderLoad(t *testing.T) {
	const reloads, sockets, downloads, clients, pieces = 200, 100, 10, 4, 100
	s := httptest.NewServer(paced(pieces, 10*time.Millisecond))
	defer s.Close()
	text := func(n int) string {
		return fmt.Sprintf(`
pools: [{name: a, http: {connections: {idle: %d}}, backends: [{address: "127.0.0.1:1"}]}]
http:
  listeners: [{name: web, addresses: ['ADDR'], limits: {header_fields: %d}}]
  routes: [{name: all, pool: a, response_headers: {set: [{name: X-Generation, value: '%d'}]}}]
`, 10+n%2, 50+n%2, n)
	}
	r := start(t, text(0), map[string][]tier.Backend{"a": {up(netip.MustParseAddrPort(s.Listener.Addr().String()))}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running, ready, transfers sync.WaitGroup
	var asked, failed atomic.Int64
	check := func(what string, err error) {
		if err != nil && failed.Add(1) == 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
	ready.Add(sockets)
	for range sockets {
		running.Go(func() { check("an upgraded connection", converse(ctx, r.addr, &ready)) })
	}
	ready.Wait()
	for range downloads {
		transfers.Go(func() { check("a download", download(r, pieces)) })
	}
	for range clients {
		running.Go(func() {
			for ctx.Err() == nil {
				asked.Add(1)
				answer, err := r.http.Get("http://example.org/")
				if err == nil && answer.StatusCode != 200 {
					err = fmt.Errorf("status %d", answer.StatusCode)
				}
				if check("a request", err); err != nil {
					return
				}
				_, err = io.Copy(io.Discard, answer.Body)
				check("a body", err)
				answer.Body.Close()
			}
		})
	}
	for n := range reloads {
		r.load(t, text(n+1))
	}
	transfers.Wait()
	cancel()
	running.Wait()
	t.Logf("%d reloads, %d requests, %d upgraded connections, %d downloads, %d failures", reloads, asked.Load(), sockets, downloads, failed.Load())
}

// converse speaks on an upgraded connection until ctx ends.
func converse(ctx context.Context, addr string, ready *sync.WaitGroup) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		ready.Done()
		return err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	fmt.Fprint(conn, "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	answer, err := http.ReadResponse(in, nil)
	ready.Done()
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("upgrade: %v, %w", answer, err)
	}
	for n := 0; ctx.Err() == nil; n++ {
		said := fmt.Sprintf("word %d\n", n)
		if _, err := io.WriteString(conn, said); err != nil {
			return err
		}
		if heard, err := in.ReadString('\n'); err != nil || heard != said {
			return fmt.Errorf("heard %q for %q: %w", heard, strings.TrimSpace(said), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

func download(r *rig, pieces int) error {
	answer, err := r.http.Get("http://example.org/download")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	piece := make([]byte, 32<<10)
	for i := range pieces {
		if _, err := io.ReadFull(answer.Body, piece); err != nil {
			return fmt.Errorf("piece %d: %w", i, err)
		}
		if !bytes.Equal(piece, bytes.Repeat([]byte{byte(i)}, len(piece))) {
			return fmt.Errorf("piece %d is another", i)
		}
	}
	if n, err := io.Copy(io.Discard, answer.Body); n > 0 || err != nil {
		return fmt.Errorf("%d bytes behind the end, %w", n, err)
	}
	return nil
}
