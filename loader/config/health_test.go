package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
)

func healthFile(pool, backend string) string {
	return fmt.Sprintf(`interfaces: [eth0]
pools:
  - name: web
    health: {%s}
    backends:
      - {address: "10.0.0.11:80"}
      - address: "10.0.0.12:80"
        health: {%s}
`, pool, backend)
}

func TestHealthDefaults(t *testing.T) {
	c, err := Parse("f", []byte(healthFile("type: http", "path: /deep, fall: 5")))
	if err != nil {
		t.Fatal(err)
	}
	want := lb.Health{Type: lb.HealthHTTP, Interval: 2 * time.Second, FastInterval: 500 * time.Millisecond, Timeout: time.Second,
		Rise: 2, Fall: 3, Jitter: 10, Method: "GET", Path: "/"}
	want.Status, _ = lb.ParseStatusSet("200-299")
	p := c.Pools[0]
	if got := p.HealthOf(p.Backends[0]); !got.Equal(want) {
		t.Errorf("pool: %+v, want %+v", got, want)
	}
	want.Path, want.Fall = "/deep", 5
	if got := p.HealthOf(p.Backends[1]); !got.Equal(want) {
		t.Errorf("backend: %+v, want %+v", got, want)
	}
}

func TestHealthOfAnotherType(t *testing.T) {
	c, err := Parse("f", []byte(healthFile("type: http, path: /a, interval: 10s, port: 81", `type: udp, send: "hex:00ff"`)))
	if err != nil {
		t.Fatal(err)
	}
	got := c.Pools[0].HealthOf(c.Pools[0].Backends[1])
	want := lb.Health{Type: lb.HealthUDP, Port: 81, Interval: 10 * time.Second, FastInterval: 2500 * time.Millisecond,
		Timeout: 5 * time.Second, Rise: 2, Fall: 3, Jitter: 10, Send: "\x00\xff"}
	if !got.Equal(want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestHealthFaults(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), "large.pem")
	if err := os.WriteFile(large, make([]byte, maxPEM+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ pool, want string }{
		{"interval: 1s", "health.type: is missing"},
		{"type: ping", `health.type: "ping" is not tcp, http,`},
		{"type: tcp, color: red", "health.color: unknown key"},
		{"type: tcp, path: /x", "health.path: is not for checks of type tcp"},
		{"type: http, server_name: x", "health.server_name: is not for checks of type http"},
		{"type: tcp, interval: 1ms", "health.interval: 1ms is not in 100ms..1h0m0s"},
		{"type: tcp, interval: 5", "health.interval: "},
		{"type: tcp, timeout: 3s", "health.timeout: 3s is not in 10ms..2s"},
		{"type: tcp, fast_interval: 3s", "health.fast_interval: 3s is not in 50ms..2s"},
		{"type: tcp, rise: 0", "health.rise: 0 is not in 1..100"},
		{"type: tcp, fall: 101", "health.fall: 101 is not in 1..100"},
		{"type: tcp, jitter: 51", "health.jitter: 51 is not in 0..50"},
		{"type: tcp, port: 0", "health.port: 0 is not in 1..65535"},
		{"type: tcp, send: 'hex:0'", "health.send: "},
		{"type: udp", "health.send: is missing"},
		{`type: http, path: "/a b"`, "health.path: "},
		{`type: http, path: "a"`, "does not begin with /"},
		{`type: http, host: "a\r\nX: y"`, "health.host: "},
		{"type: http, status: 2xx", "health.status: "},
		{"type: http, body_regexp: '('", "health.body_regexp: "},
		{"type: dns", "health.query: is missing"},
		{"type: dns, query: a..b", "health.query: "},
		{"type: dns, query: a, record: ANY", "health.record: "},
		{"type: dns, query: a, rcode: SERVFAIL", "health.rcode: "},
		{"type: tls, verify: maybe", "health.verify: "},
		{"type: tls, ca: x.pem", "is not an absolute path"},
		{"type: tls, ca: /nonexistent/x.pem", "cannot be read"},
		{"type: tls, ca: " + empty, "has no PEM certificate"},
		{"type: tls, ca: /dev/zero", "is not a regular file"},
		{"type: tls, ca: " + large, "is larger than 1MiB"},
		{"type: exec", "health.command: is missing"},
		{"type: exec, command: [check]", "health.command[0]: "},
	} {
		_, err := Parse("f", []byte(healthFile(c.pool, "type: tcp")))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "f:4: ") {
			t.Errorf("%s: %v, want line 4 and %q", c.pool, err, c.want)
		}
	}
	_, err := Parse("f", []byte(healthFile("type: http", "path: x")))
	if err == nil || !strings.Contains(err.Error(), "f:8: pools[0].backends[1].health.path:") {
		t.Errorf("a backend's fault: %v", err)
	}
}

func TestHealthNeedsAPort(t *testing.T) {
	_, err := Parse("f", []byte(`interfaces: [eth0]
pools: [{name: web, health: {type: tcp}, backends: [{address: 10.0.0.11}]}]
services: [{name: web, vip: "192.0.2.1:*/tcp", forward: dsr, pool: web}]
`))
	if err == nil || !strings.Contains(err.Error(), "pools[0].health.port: is missing") {
		t.Errorf("error %v", err)
	}
}

func TestHealthVia(t *testing.T) {
	const pool = head + "pools: [{name: p, health: {type: TYPE, via: VIA}, backends: [{address: 10.0.0.1}]}]\nservices: [{name: s, vip: '192.0.2.1:80', forward: FORWARD, pool: p}]\n"
	for _, c := range []struct{ kind, via, forward, want string }{
		{"tcp", "vip", "dsr", ""},
		{"http", "both", "gue", ""},
		{"http", "address", "nat", ""},
		{"http", "vip", "ipip", `f:2: pools[0].health.via: "vip" finds out no more than that a connection is accepted, and this check asks more: say both, or type tcp without send and expect`},
		{"http", "both", "nat", `f:2: pools[0].health.via: "both" needs a service of the pool that is forwarded by dsr, ipip or gue over TCP`},
		{"tcp", "lo", "dsr", `f:2: pools[0].health.via: "lo" is not one of address, vip, both`},
	} {
		got, err := Parse("f", []byte(strings.NewReplacer("TYPE", c.kind, "VIA", c.via, "FORWARD", c.forward).Replace(pool)))
		if c.want == "" && (err != nil || string(got.Pools[0].Health.Via) != c.via) || c.want != "" && (err == nil || err.Error() != c.want) {
			t.Errorf("%s %s by %s: %v, want %q", c.kind, c.via, c.forward, err, c.want)
		}
	}
}
