package tier_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// good asks again and again while something bad goes on.
type good struct {
	asked, failed atomic.Int64
	last          atomic.Pointer[string]
	stop          chan bool
	running       sync.WaitGroup
}

func (r *rig) goodClients(count int) *good {
	g := &good{stop: make(chan bool)}
	for range count {
		g.running.Go(func() {
			client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", r.addr)
			}, MaxIdleConnsPerHost: 1}, Timeout: 10 * time.Second}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-g.stop:
					return
				default:
				}
				g.asked.Add(1)
				if err := askOnce(client); err != nil {
					g.failed.Add(1)
					text := err.Error()
					g.last.Store(&text)
				}
			}
		})
	}
	return g
}

func askOnce(client *http.Client) error {
	answer, err := client.Get("http://example.org/good")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", answer.Status)
	}
	return nil
}

// end reports what the good clients saw. At most one in a thousand may have failed.
func (g *good) end(t *testing.T) {
	t.Helper()
	close(g.stop)
	g.running.Wait()
	asked, failed := g.asked.Load(), g.failed.Load()
	t.Logf("good clients: %d requests, %d failed", asked, failed)
	if asked == 0 || failed*1000 > asked {
		last := ""
		if p := g.last.Load(); p != nil {
			last = *p
		}
		t.Errorf("%d of %d requests of good clients failed, lately: %s", failed, asked, last)
	}
}

func flat(t *testing.T, before int64) {
	t.Helper()
	if grown := inUse() - before; grown > 64<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

const bounded = `
http:
  listeners: [{name: web, addresses: ['ADDR'], timeouts: {header: 2s, body: 2s, write: 2s, idle: 5s}}]
  routes: [{name: all, pool: a}]
`

func answerWell(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/good" {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, "good")
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.Copy(w, &pattern{size: 4 << 20})
}

// Slow headers, slow bodies and slow readers of slowhttptest: they are cut off,
// and nobody else notices.
func TestSlowHTTP(t *testing.T) {
	count, seconds := "300", "4"
	if long() {
		count, seconds = "3000", "30"
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"headers", []string{"-H", "-i", "1"}},
		{"bodies", []string{"-B", "-i", "1", "-s", "100000", "-t", "POST"}},
		{"readers", []string{"-X", "-w", "1", "-y", "2", "-n", "1", "-z", "32", "-k", "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, twoPools+bounded, backend(t, answerWell))
			before := inUse()
			g := r.goodClients(2)
			args := append(c.args, "-c", count, "-r", "200", "-l", seconds, "-p", "3", "-u", "http://"+r.addr+"/slow")
			out, err := exec.CommandContext(t.Context(), "slowhttptest", args...).CombinedOutput()
			g.end(t)
			flat(t, before)
			if err != nil || !strings.Contains(string(out), "service available:") {
				t.Errorf("slowhttptest: %v\n%s", err, out)
			}
		})
	}
}

// Streams opened and reset, and headers without end, over HTTP/2.
func TestFloodsHTTP2(t *testing.T) {
	for _, c := range []struct {
		name  string
		flood func(f *http2.Framer, block []byte) error
	}{
		{"rapid reset", func(f *http2.Framer, block []byte) error {
			for id := uint32(1); id < 100_000; id += 2 {
				if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: true}); err != nil {
					return err
				}
				if err := f.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
					return err
				}
			}
			return nil
		}},
		{"continuation", func(f *http2.Framer, block []byte) error {
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block}); err != nil {
				return err
			}
			for range 100_000 {
				if err := f.WriteContinuation(1, false, nil); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, twoPools+bounded, backend(t, answerWell))
			before := inUse()
			g := r.goodClients(2)
			var bad sync.WaitGroup
			for range 4 {
				bad.Go(func() {
					for range 5 {
						if err := r.floodOnce(c.flood); err == nil {
							t.Error("a flood was borne to its end")
						}
					}
				})
			}
			bad.Wait()
			g.end(t)
			flat(t, before)
		})
	}
}

func (r *rig) floodOnce(flood func(*http2.Framer, []byte) error) error {
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, conn) }() // until the connection is closed
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return err
	}
	f := http2.NewFramer(conn, nil)
	if err := f.WriteSettings(); err != nil {
		return err
	}
	var block strings.Builder
	e := hpack.NewEncoder(&block)
	for _, h := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "example.org"}, {Name: ":path", Value: "/slow"}} {
		if err := e.WriteField(h); err != nil {
			return err
		}
	}
	return flood(f, []byte(block.String()))
}

// Certificates are swapped again and again under handshakes, none of which may
// fail.
func TestCertificatesSwapped(t *testing.T) {
	handshakes := 400
	if long() {
		handshakes = 10_000
	}
	r := start(t, "", nil)
	ca := newCA(t)
	ca.write(t, r.dir)
	r.load(t, `
http:
  certificates: [{name: own, certificate: DIR/own.pem, key: DIR/own.key}]
  listeners: [{name: web, addresses: ['ADDR'], tls: {stapling: false}}]
  routes: [{name: all, respond: {body: hello}}]
`)
	done := make(chan bool)
	var swapping sync.WaitGroup
	swapping.Go(func() {
		every := time.NewTicker(time.Second)
		defer every.Stop()
		for {
			select {
			case <-done:
				return
			case <-every.C:
				ca.write(t, r.dir)
			}
		}
	})
	var all sync.WaitGroup
	var failed atomic.Int64
	seen := sync.Map{}
	for range 4 {
		all.Go(func() {
			for range handshakes / 4 {
				conn, err := tls.Dial("tcp", r.addr, &tls.Config{ServerName: "example.org", RootCAs: ca.pool})
				if err != nil {
					if failed.Add(1) < 5 {
						t.Error(err)
					}
					continue
				}
				seen.Store(conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), true)
				conn.Close()
			}
		})
	}
	all.Wait()
	if long() {
		t.Logf("%d handshakes", handshakes)
	}
	// One more swap is awaited, so that short runs see one too.
	for count(&seen) < 2 {
		conn, err := tls.Dial("tcp", r.addr, &tls.Config{ServerName: "example.org", RootCAs: ca.pool})
		if err != nil {
			t.Fatal(err)
		}
		seen.Store(conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), true)
		conn.Close()
	}
	close(done)
	swapping.Wait()
	t.Logf("%d handshakes, %d certificates, %d failed", handshakes, count(&seen), failed.Load())
}

func count(m *sync.Map) (n int) {
	m.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}
