package tier_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/l7/tier"
	"weir/loader/config"
	"weir/loader/lb"
)

// fakePools is the control loop's side.
type fakePools struct {
	mu      sync.Mutex
	pools   map[string][]tier.Backend
	changes chan struct{}
}

func (f *fakePools) Backends(pool string) []tier.Backend {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pools[pool]
}

func (f *fakePools) Changes() <-chan struct{} { return f.changes }

func (f *fakePools) set(pool string, all ...tier.Backend) {
	f.mu.Lock()
	f.pools[pool] = all
	f.mu.Unlock()
	f.changes <- struct{}{}
	f.changes <- struct{}{} // whoever takes this one is through with the first
}

// rig is a running tier.
type rig struct {
	*tier.Tier
	pools *fakePools
	addr  string // of the listener "web"
	dir   string
	http  *http.Client
	stop  func()
}

// freePort is one that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// server answers with its name and what it was asked.
func server(t testing.TB, name string) netip.AddrPort {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Backend", name)
		fmt.Fprintf(w, "%s %s %s %s xff=%s\n", name, r.Method, r.Host, r.RequestURI, r.Header.Get("X-Forwarded-For"))
	}))
	t.Cleanup(s.Close)
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

func up(a netip.AddrPort) tier.Backend {
	return tier.Backend{Endpoint: a, Effective: lb.EffectiveUnit, Up: true}
}

// parse reads a file with ADDR and DIR replaced, and pools on loopback.
func (r *rig) parse(t testing.TB, text string) lb.Config {
	t.Helper()
	text = strings.NewReplacer("ADDR", r.addr, "DIR", r.dir).Replace(text)
	c, err := config.Parse("weir.yaml", []byte("interfaces: [lo]\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (r *rig) load(t testing.TB, text string) {
	t.Helper()
	commit, _, err := r.Prepare(r.parse(t, text))
	if err != nil {
		t.Fatal(err)
	}
	commit()
}

func start(t testing.TB, text string, backends map[string][]tier.Backend) *rig {
	t.Helper()
	r := &rig{pools: &fakePools{pools: backends, changes: make(chan struct{})}, addr: freePort(t), dir: t.TempDir()}
	r.Tier = tier.New(tier.Options{Pools: r.pools})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(r.stop)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", r.addr)
	}, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	r.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 20 * time.Second}
	if text != "" {
		r.load(t, text)
	}
	return r
}

func (r *rig) get(t testing.TB, url string) (*http.Response, string) {
	t.Helper()
	answer, err := r.http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

const twoPools = `
pools:
- {name: a, http: {}, backends: [{address: "127.0.0.1:1"}]}
- {name: b, http: {}, backends: [{address: "127.0.0.1:2"}]}
`

const web = "http: {listeners: [{name: web, addresses: ['ADDR']}], caches: [{name: main}], routes: ["

func TestRoutes(t *testing.T) {
	a, b := server(t, "a"), server(t, "b")
	r := start(t, twoPools+web+`
  {name: api, match: {prefix: /api}, pool: b, rewrite: {strip_prefix: /api, host: inner.example}, response_headers: {set: [{name: X-Route, value: "{route} {backend}"}]}},
  {name: moved, match: {path: /old}, redirect: {status: 301, location: "https://{hostname}/new"}},
  {name: teapot, match: {path: /tea}, respond: {status: 418, body: "short and stout\n"}},
  {name: files, match: {prefix: /files}, static: {root: DIR, strip_prefix: true}},
  {name: cached, match: {prefix: /cached}, pool: a, cache: {store: main, ttl: 1m}},
  {name: rest, pool: a, limits: {body: 10}, request_id: {answer: true}}]}
`, map[string][]tier.Backend{"a": {up(a)}, "b": {up(b)}})
	if err := os.WriteFile(filepath.Join(r.dir, "x.txt"), []byte("a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url, want string
		status    int
	}{
		{"/", "a GET example.org / xff=127.0.0.1\n", 200},
		{"/api/x?q=1", "b GET inner.example /x?q=1 xff=127.0.0.1\n", 200},
		{"/old", "", 301},
		{"/tea", "short and stout\n", 418},
		{"/files/x.txt", "a file\n", 200},
		{"/files/none", "404 Not Found\n", 404},
		{"/a//b", "400 Bad Request\n", 400},
		{"/cached/1", "a GET example.org /cached/1 xff=127.0.0.1\n", 200},
	} {
		answer, body := r.get(t, "http://example.org"+c.url)
		if answer.StatusCode != c.status || body != c.want {
			t.Errorf("%s: %d %q, want %d %q", c.url, answer.StatusCode, body, c.status, c.want)
		}
		if got := answer.Header.Get("X-Route"); c.url == "/api/x?q=1" && got != "api "+b.String() {
			t.Errorf("X-Route %q", got)
		}
		if len(answer.Header.Get("X-Request-Id")) != 32 && c.url == "/" {
			t.Error("no request id")
		}
	}
	for late := time.Now().Add(10 * time.Second); ; {
		answer, _ := r.get(t, "http://example.org/cached/1")
		if status := answer.Header.Get("Cache-Status"); strings.Contains(status, "hit") {
			break // until it is stored, the first answer is shared
		} else if time.Now().After(late) {
			t.Fatalf("Cache-Status %q", status)
		}
	}
	answer, err := r.http.Post("http://example.org/", "text/plain", strings.NewReader("more than ten bytes"))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 413 {
		t.Errorf("a body that is too large: %d", answer.StatusCode)
	}
}

// A cache asks pools with exchanges of its own, which count, too.
func TestPoolMetrics(t *testing.T) {
	a := server(t, "a")
	r := start(t, twoPools+web+"{name: all, pool: a}, {name: cached, match: {prefix: /cached}, pool: a, cache: {store: main, ttl: 1m}}]}\n",
		map[string][]tier.Backend{"a": {up(a)}})
	r.get(t, "http://example.org/")
	r.get(t, "http://example.org/cached")
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(r.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "weir_http_pool_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == "2xx" && m.GetCounter().GetValue() == 2 {
				return
			}
		}
		t.Errorf("%v", f)
		return
	}
	t.Error("no weir_http_pool_requests_total")
}

func TestPoolsFollow(t *testing.T) {
	a, b := server(t, "a"), server(t, "b")
	r := start(t, twoPools+web+"{name: all, pool: a}]}\n", map[string][]tier.Backend{"a": {up(a), up(b)}})
	ask := func(n int) map[string]int {
		seen := map[string]int{}
		for range n {
			answer, _ := r.get(t, "http://example.org/")
			seen[answer.Header.Get("X-Backend")]++
		}
		return seen
	}
	if got := ask(10); got["a"] != 5 || got["b"] != 5 {
		t.Errorf("equal weights: %v", got)
	}
	drained := up(b)
	drained.Effective = 0
	r.pools.set("a", up(a), drained)
	if got := ask(10); got["a"] != 10 {
		t.Errorf("b drains: %v", got)
	}
	r.pools.set("a", tier.Backend{Endpoint: a}, up(b))
	if got := ask(10); got["b"] != 10 {
		t.Errorf("a is down: %v", got)
	}
	r.pools.set("a", tier.Backend{Endpoint: a})
	if answer, _ := r.get(t, "http://example.org/"); answer.StatusCode != 503 {
		t.Errorf("all are down: %d", answer.StatusCode)
	}
}

func TestRefusedConfigurationChangesNothing(t *testing.T) {
	r := start(t, web+"{name: all, respond: {body: old}}]}\n", nil)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free := freePort(t)
	for name, text := range map[string]string{
		"an address that is taken": "http: {listeners: [{name: web, addresses: ['ADDR', '" + free + "', '" + taken.Addr().String() + "']}], routes: [{name: all, respond: {body: new}}]}",
		"a root that is missing":   web + "{name: all, static: {root: DIR/none}}]}",
		"a log that cannot be":     "http: {listeners: [{name: web, addresses: ['ADDR']}], access_log: [{file: DIR/none/x}], routes: [{name: all, respond: {body: new}}]}",
		"certificates that are no": "http: {certificates: [{name: a, certificate: DIR/a, key: DIR/a}], listeners: [{name: web, addresses: ['ADDR'], tls: {}}], routes: [{name: all, respond: {body: new}}]}",
		"a listener without route": "http: {listeners: [{name: web, addresses: ['ADDR']}, {name: more, addresses: ['" + free + "']}], routes: [{name: all, listeners: [web], respond: {body: new}}]}",
	} {
		if _, _, err := r.Prepare(r.parse(t, text)); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
		if _, body := r.get(t, "http://example.org/"); body != "old" {
			t.Errorf("%s: answered %q", name, body)
		}
		if l, err := net.Listen("tcp", free); err != nil {
			t.Errorf("%s: a socket was left: %v", name, err)
		} else {
			l.Close()
		}
	}
	_, discard, err := r.Prepare(r.parse(t, web+"{name: all, respond: {body: new}}]}"))
	if err != nil {
		t.Fatal(err)
	}
	discard()
	if _, body := r.get(t, "http://example.org/"); body != "old" {
		t.Errorf("after discard: %q", body)
	}
}

// One connection goes on through reloads, and sees each.
func TestReloadClosesNoConnection(t *testing.T) {
	r := start(t, web+"{name: all, respond: {body: '0'}}]}\n", nil)
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for i := range 5 {
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || string(body) != fmt.Sprint(i) {
			t.Fatalf("%q, %v after %d reloads", body, err, i)
		}
		// Other bounds, so that new connections get other ends.
		r.load(t, fmt.Sprintf("http: {listeners: [{name: web, addresses: ['ADDR'], limits: {header_fields: %d}}], routes: [{name: all, respond: {body: '%d'}}]}", 50+i, i+1))
	}
	r.load(t, "http: {listeners: [{name: other, addresses: ['"+freePort(t)+"']}], routes: [{name: all, respond: {}}]}")
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != 503 {
		t.Fatalf("the listener is gone: %v, %v", answer, err)
	}
	if _, err := net.Dial("tcp", r.addr); err == nil {
		t.Error("an address is listened on that no listener has")
	}
}

func TestStopLetsRequestsEnd(t *testing.T) {
	release := make(chan struct{})
	came := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(came)
		<-release
		fmt.Fprint(w, "done")
	}))
	defer s.Close()
	r := start(t, twoPools+web+"{name: all, pool: a}]}\n", map[string][]tier.Backend{"a": {up(netip.MustParseAddrPort(s.Listener.Addr().String()))}})
	got := make(chan string, 1)
	go func() {
		answer, err := r.http.Get("http://example.org/")
		if err != nil {
			got <- err.Error()
			return
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		got <- string(body)
	}()
	<-came
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	for { // until nobody listens any more
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			break
		}
		c.Close()
	}
	close(release)
	if body := <-got; body != "done" {
		t.Errorf("the request that was under way: %q", body)
	}
	<-stopped
}

func TestAccessLogAndMetrics(t *testing.T) {
	a := server(t, "a")
	r := start(t, twoPools+`
http:
  listeners: [{name: web, addresses: ['ADDR']}]
  access_log: [{file: DIR/access.log, format: template, template: "{status} {route} {pool} {sent} {method} {uri}"}]
  routes: [{name: all, pool: a}, {name: tea, match: {path: /tea}, respond: {status: 418, body: "tea"}}]
`, map[string][]tier.Backend{"a": {up(a)}})
	_, body := r.get(t, "http://example.org/x?y=1")
	r.get(t, "http://example.org/tea")
	r.stop()
	text, err := os.ReadFile(filepath.Join(r.dir, "access.log"))
	want := fmt.Sprintf("200 all a %d GET /x?y=1\n418 tea  3 GET /tea\n", len(body))
	if err != nil || string(text) != want {
		t.Errorf("%q, %v, want %q", text, err, want)
	}
}

// A backend that thinks for too long is given up, as its route says.
func TestLateBackend(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	r := start(t, twoPools+web+"{name: all, pool: a, timeouts: {response: 50ms}}, {name: short, match: {path: /short}, pool: a, timeouts: {request: 50ms}, response_headers: {set: [{name: X-F, value: '{failure}'}]}}]}\n",
		map[string][]tier.Backend{"a": {up(netip.MustParseAddrPort(s.Listener.Addr().String()))}})
	for _, path := range []string{"/", "/short"} {
		if answer, _ := r.get(t, "http://example.org"+path); answer.StatusCode != 504 {
			t.Errorf("%s: %d %s", path, answer.StatusCode, answer.Header.Get("X-F"))
		}
	}
}

func TestProxyHeaderAndHTTP2WithoutTLS(t *testing.T) {
	r := start(t, `
http:
  listeners: [{name: web, addresses: ['ADDR'], proxy_protocol: [127.0.0.1]}]
  routes: [{name: all, respond: {body: x}, response_headers: {set: [{name: X-Client, value: "{client_ip}:{client_port} {protocol}"}]}}]
`, nil)
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "PROXY TCP4 192.0.2.7 192.0.2.1 4000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || answer.Header.Get("X-Client") != "192.0.2.7:4000 HTTP/1.1" {
		t.Errorf("%v, %v", answer, err)
	}
	h2 := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", r.addr)
		if err == nil {
			_, err = fmt.Fprint(c, "PROXY TCP4 192.0.2.8 192.0.2.1 4001 80\r\n")
		}
		return c, err
	}}
	h2.Protocols.SetUnencryptedHTTP2(true)
	defer h2.CloseIdleConnections()
	request, err := http.NewRequest(http.MethodGet, "http://example.org/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err = h2.RoundTrip(request); err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if got := answer.Header.Get("X-Client"); got != "192.0.2.8:4001 HTTP/2.0" {
		t.Errorf("%q", got)
	}
}
