package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/loader/lb"
)

// tierLab is a lab whose VIP is answered by the HTTP tier.
type tierLab struct {
	*lab
	failed atomic.Uint64
	asked  atomic.Uint64
	first  atomic.Pointer[error]
}

func startTier(t *testing.T) *tierLab {
	t.Helper()
	l := &tierLab{lab: newLab(t, plan{})}
	if err := l.Balancer.AddAddr("lo", netip.PrefixFrom(l.VIP, l.VIP.BitLen())); err != nil {
		t.Fatal(err)
	}
	l.configure(t, 0)
	l.run(t)
	return l
}

// configure writes a file in which everything that a reload may replace differs
// from one number to the next: ends of the listener, pool, routes.
func (l *tierLab) configure(t *testing.T, n int) {
	t.Helper()
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(l.config.settings)) {
		fmt.Fprintf(&b, "%s: %s\n", key, l.config.settings[key])
	}
	fmt.Fprintf(&b, "pools:\n  - name: %s\n    http: {connections: {idle: %d}}\n    backends:\n", poolName, 10+n%2)
	for _, s := range l.config.backends {
		fmt.Fprintf(&b, "      - {address: %q}\n", s.Endpoint())
	}
	vip := lb.VIP{Addr: l.VIP, Port: 80, Proto: lb.TCP}
	fmt.Fprintf(&b, "services: [{name: %s, vip: %q, forward: l7}]\n", service, vip)
	fmt.Fprintf(&b, "http:\n  listeners: [{name: web, addresses: [%q], limits: {header_fields: %d}}]\n", netip.AddrPortFrom(l.VIP, 80), 50+n%2)
	fmt.Fprintf(&b, "  routes: [{name: all, pool: %s, response_headers: {set: [{name: X-Generation, value: '%d'}]}}]\n", poolName, n)
	if err := os.WriteFile(configPath, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (l *tierLab) fail(err error) {
	l.failed.Add(1)
	l.first.CompareAndSwap(nil, &err)
}

// ask makes requests on kept connections until ctx ends.
func (l *tierLab) ask(ctx context.Context, answered func(who string, x *connection)) error {
	for ctx.Err() == nil {
		c, err := dial(ctx, netip.Addr{}, netip.AddrPortFrom(l.VIP, 80))
		if err != nil {
			if ctx.Err() == nil {
				l.fail(err)
			}
			continue
		}
		for range 100 {
			l.asked.Add(1)
			who, err := c.ask()
			if err != nil {
				l.fail(err)
				break
			}
			if answered != nil {
				answered(who, c)
			}
			if ctx.Err() != nil {
				break
			}
		}
		c.Close()
	}
	return nil
}

// speak keeps an upgraded connection and says something again and again.
func (l *tierLab) speak(ctx context.Context, ready *sync.WaitGroup) error {
	c, err := dial(ctx, netip.Addr{}, netip.AddrPortFrom(l.VIP, 80))
	if err == nil {
		defer c.Close()
		_, err = fmt.Fprint(c, "GET /upgrade HTTP/1.1\r\nHost: weir\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	}
	if err == nil {
		var answer string
		if answer, err = c.reader.ReadString('\n'); err == nil && !strings.Contains(answer, " 101 ") {
			err = fmt.Errorf("upgrade: %q", answer)
		}
	}
	for line := ""; err == nil && line != "\r\n"; {
		line, err = c.reader.ReadString('\n')
	}
	ready.Done()
	for n := 0; err == nil; n++ {
		if err = c.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
			break
		}
		said, heard := fmt.Sprintf("word %d\n", n), ""
		if _, err = io.WriteString(c, said); err == nil {
			heard, err = c.reader.ReadString('\n')
		}
		if err == nil && heard != said {
			err = fmt.Errorf("heard %q for %q", heard, said)
		}
		select {
		case <-ctx.Done():
			if err != nil {
				l.fail(fmt.Errorf("an upgraded connection: %w", err))
			}
			return nil
		case <-time.After(20 * time.Millisecond):
		}
	}
	l.fail(fmt.Errorf("an upgraded connection: %w", err))
	return nil
}

// download takes a transfer that outlasts many reloads.
func (l *tierLab) download(ctx context.Context, bytes, rate int64) error {
	c, err := dial(ctx, netip.Addr{}, netip.AddrPortFrom(l.VIP, 80))
	if err != nil {
		l.fail(err)
		return nil
	}
	defer c.Close()
	resp, err := c.get(fmt.Sprintf("/stream?bytes=%d&rate=%d", bytes, rate))
	if err == nil {
		err = c.SetDeadline(time.Now().Add(10 * time.Minute))
	}
	if err == nil {
		defer resp.Body.Close()
		err = sameAs(resp.Body, noise(bytes))
	}
	if err != nil {
		l.fail(fmt.Errorf("a download: %w", err))
	}
	return nil
}

func sameAs(got, want io.Reader) error {
	a, b := make([]byte, 32<<10), make([]byte, 32<<10)
	for total := 0; ; {
		n, err := got.Read(a)
		if _, errWant := io.ReadFull(want, b[:n]); errWant != nil || string(a[:n]) != string(b[:n]) {
			return fmt.Errorf("after %d bytes it is not what was sent", total)
		}
		if total += n; err == io.EOF {
			if rest, _ := io.Copy(io.Discard, want); rest > 0 {
				return fmt.Errorf("it ended %d bytes early", rest)
			}
			return nil
		} else if err != nil {
			return fmt.Errorf("after %d bytes: %w", total, err)
		}
	}
}

// A reload closes no connection and fails no request, whatever it replaces.
func TestTierReloadsUnderLoad(t *testing.T) {
	const reloads, sockets, downloads, clients = 200, 100, 10, 4
	l := startTier(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running, ready, transfers sync.WaitGroup
	inClient := func(wait *sync.WaitGroup, do func() error) {
		wait.Go(func() {
			if err := l.Client.Do(do); err != nil {
				l.fail(err)
			}
		})
	}
	ready.Add(sockets)
	for range sockets {
		inClient(&running, func() error { return l.speak(ctx, &ready) })
	}
	ready.Wait()
	for range downloads {
		inClient(&transfers, func() error { return l.download(ctx, 10<<20, 1<<20) })
	}
	for range clients {
		inClient(&running, func() error { return l.ask(ctx, nil) })
	}
	began := time.Now()
	for n := range reloads {
		l.configure(t, n+1)
		weir(t, "reload")
	}
	took := time.Since(began)
	transfers.Wait()
	cancel()
	running.Wait()
	t.Logf("%d reloads in %s, %d requests, %d upgraded connections, %d downloads of 10 MiB", reloads, took.Round(time.Millisecond), l.asked.Load(), sockets, downloads)
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d failures, the first: %v", n, *l.first.Load())
	}
	if n := l.asked.Load(); n < reloads {
		t.Errorf("only %d requests were made meanwhile", n)
	}
	if open := metric(t, "weir_http_requests_total", map[string]string{"route": "all", "code": "5xx"}); open != 0 {
		t.Errorf("%v answers of 500 and above", open)
	}
}

// What drains gets no requests of the tier either, and finishes those it has.
func TestTierDrain(t *testing.T) {
	l := startTier(t)
	x := l.servers[1]
	var last atomic.Int64 // when x answered last, Unix nanoseconds
	var others atomic.Uint64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			_ = l.Client.Do(func() error {
				return l.ask(ctx, func(who string, _ *connection) {
					if who == x.name() {
						last.Store(time.Now().UnixNano())
					} else {
						others.Add(1)
					}
				})
			})
		})
	}
	eventually(t, 5*time.Second, "requests to every backend", yes(func() bool { return last.Load() > 0 && others.Load() > 0 }))
	weir(t, "backend", "drain", ref(x))
	drained := time.Now()
	before := others.Load()
	eventually(t, 10*time.Second, "requests to the others", yes(func() bool { return others.Load() > before+500 && time.Since(drained) > 1500*time.Millisecond }))
	late := time.Unix(0, last.Load()).Sub(drained)
	t.Logf("%d requests after the drain, the last answer of the drained backend %s after it", others.Load()-before, late.Round(time.Microsecond))
	if late > time.Second {
		t.Errorf("a request reached the drained backend %s after the drain", late)
	}
	seen := last.Load()
	weir(t, "backend", "ready", ref(x))
	eventually(t, 2*time.Second, "requests after ready", yes(func() bool { return last.Load() > seen }))
	cancel()
	running.Wait()
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d failures, the first: %v", n, *l.first.Load())
	}
}
