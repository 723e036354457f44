package config

import (
	"os"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
)

// Files of which a case replaces one part; what it writes is on line 4.
const (
	webHTTP   = head + "pools: [{name: web, backends: [{address: 10.0.0.1:80}]}]\n"
	listening = "listeners: [{name: w, addresses: [':80']}]"
)

func http1(rest string) string { return webHTTP + "http:\n  {" + rest + "}\n" }

func route1(rest string) string { return http1(listening + ", routes: [{name: r, " + rest + "}]") }

func listener1(rest string) string {
	return http1("listeners: [{name: w, addresses: [':80'], " + rest + "}], routes: [{name: r, pool: web}]")
}

func poolHTTP1(rest string) string {
	return head + "pools:\n- {name: p, backends: [{address: 10.0.0.1:80}],\n   http: {" + rest + "}}\n"
}

const tlsOf = "http: {certificates: [{name: a, certificate: /a, key: /a}], "

var httpFaultCases = []struct {
	name string
	file string
	want []string
}{
	{"nothing in it", http1(""), []string{
		"3: http.listeners: is missing; it is a list of at least one listener", "3: http.routes: is missing; it is a list of at least one route"}},
	{"unknown key", http1("listener: []"), []string{
		"3: http.listeners: is missing; it is a list of at least one listener", "3: http.routes: is missing; it is a list of at least one route",
		"4: http.listener: unknown key; allowed are listeners, trusted_proxies, certificates, acme, caches, routes, access_log, tracing"}},
	{"no address", http1("listeners: [{name: w}], routes: [{name: r, pool: web}]"), []string{
		`4: http.listeners[0].addresses: is missing; it is a list of ADDRESS:PORT, or ":PORT" for all addresses of this host`}},
	{"addresses", http1("listeners: [{name: w, addresses: ['80', ':80', ':80', '[::ffff:1.2.3.4]:80']}], routes: [{name: r, pool: web}]"), []string{
		`4: http.listeners[0].addresses[0]: "80" is not ADDRESS:PORT or :PORT, such as 192.0.2.1:443 or :80`,
		`4: http.listeners[0].addresses[2]: ":80" is already at http.listeners[0].addresses[1]`,
		`4: http.listeners[0].addresses[3]: "[::ffff:1.2.3.4]:80" is not ADDRESS:PORT or :PORT, such as 192.0.2.1:443 or :80`}},
	{"http3 without tls", listener1("http3: true"), []string{"4: http.listeners[0].http3: needs tls"}},
	{"not a bool", listener1("http3: yes"), []string{`4: http.listeners[0].http3: "yes" is not true or false`}},
	{"protocols", listener1("protocols: [h1, h3, h1]"), []string{
		`4: http.listeners[0].protocols[1]: "h3" is not one of h1, h2`, "4: http.listeners[0].protocols[2]: h1 is there already"}},
	{"prefixes", listener1("proxy_protocol: [10.0.0.1/8, x]"), []string{
		`4: http.listeners[0].proxy_protocol[0]: "10.0.0.1/8" is not an address or prefix such as 10.0.0.0/8 or 2001:db8::/32`,
		`4: http.listeners[0].proxy_protocol[1]: "x" is not an address or prefix such as 10.0.0.0/8 or 2001:db8::/32`}},
	{"limits", listener1("limits: {header: 10MB, header_fields: 0, response_header: 2MiB}"), []string{
		`4: http.listeners[0].limits.header: "10MB" is not a size such as 64KiB, 10MiB or 1GiB`,
		"4: http.listeners[0].limits.header_fields: 0 is not in 1..10000",
		"4: http.listeners[0].limits.response_header: 2MiB is not in 1KiB..1MiB"}},
	{"timeouts", listener1("timeouts: {header: 1ms, idle: 30}"), []string{
		"4: http.listeners[0].timeouts.header: 1ms is not in 100ms..1h0m0s",
		`4: http.listeners[0].timeouts.idle: "30" is not a duration such as 30s or 15m`}},
	{"TLS without a certificate", listener1("tls: {}"), []string{
		"4: http.listeners[0].tls.certificates: is missing; it is needed, as http has neither certificates nor acme"}},
	{"TLS", webHTTP + tlsOf + "\n  routes: [{name: r, pool: web}],\n listeners: [{name: w, addresses: [':1'],\n   tls: {certificates: [b], min_version: 1.2, unknown_name: last, ticket_file: t, clients: [{hosts: [EXAMPLE.org, 'a:1']}]}}]}\n", []string{
		`6: http.listeners[0].tls.certificates[0]: there is no certificate "b"`,
		`6: http.listeners[0].tls.min_version: "1.2" is not text (put it in quotes if it looks like a number)`,
		`6: http.listeners[0].tls.unknown_name: "last" is not one of refuse, first`,
		`6: http.listeners[0].tls.ticket_file: "t" is not an absolute path`,
		"6: http.listeners[0].tls.clients[0].ca: is missing; it is an absolute path",
		`6: http.listeners[0].tls.clients[0].hosts[1]: "a:1" is not a host such as www.example.org or *.example.org, without port, in ASCII (xn--…)`}},
	{"acme", http1(listening + ", routes: [{name: r, pool: web}], acme: {hosts: ['*.a.org'], directory: 'ftp://x', email: me, challenges: []}"), []string{
		`4: http.acme.hosts[0]: "*.a.org": a wildcard needs a DNS challenge, which weir does not do`,
		`4: http.acme.directory: "ftp://x" is not a URL such as https://example.org/path`,
		`4: http.acme.email: "me" is not an e-mail address`,
		"4: http.acme.challenges: is empty; name some of http-01, tls-alpn-01, or leave it out"}},

	{"no action", route1("match: {path: /}"), []string{"4: http.routes[0]: does nothing: it needs one of pool, split, redirect, respond or static"}},
	{"two actions", route1("pool: web, respond: {}"), []string{
		"4: http.routes[0].respond: is one action too many, as there is pool; a route has one of pool, split, redirect, respond or static"}},
	{"names", route1("pool: web, listeners: [x]}, {name: r, pool: wep"), []string{
		`4: http.routes[0].listeners[0]: there is no listener "x"`, `4: http.routes[1].name: "r" is already the name of http.routes[0]`,
		`4: http.routes[1].pool: there is no pool "wep"`}},
	{"split", route1("split: [{pool: web, weight: 0}, {weight: 0}]"), []string{
		"4: http.routes[0].split: needs a pool with a weight above 0", "4: http.routes[0].split[1].pool: is missing; it is the name of a pool"}},
	{"redirect", route1("redirect: {status: 305, location: '{nope}'}"), []string{
		"4: http.routes[0].redirect.status: 305 is not 301, 302, 303, 307 or 308",
		`4: http.routes[0].redirect.location: "{nope}" has {nope}, which is none of ` + lb.TemplateVars() + ", nor a capture of the route's path",
		`4: http.routes[0].redirect.location: "{nope}" begins with neither /, http://, https://, {scheme}://, {path} nor {uri}`}},
	{"respond", route1("respond: {status: 204, body: x}"), []string{"4: http.routes[0].respond.body: an answer with status 204 has none"}},
	{"static", route1("static: {root: srv, index: [.x], try_files: [a, '=404', /b]}"), []string{
		`4: http.routes[0].static.root: "srv" is not an absolute path`, `4: http.routes[0].static.index[0]: ".x" is not the name of a file without /`,
		`4: http.routes[0].static.try_files[0]: "a" begins with neither / nor {path} and is, as the last, no status such as =404`,
		`4: http.routes[0].static.try_files[1]: "=404" begins with neither / nor {path} and is, as the last, no status such as =404`}},
	{"two paths", route1("pool: web, match: {path: /a, prefix: /b}"), []string{
		"4: http.routes[0].match.prefix: is one too many: a route has one of path, prefix, pattern and regexp"}},
	{"path", route1("pool: web, match: {path: '/a/../b'}"), []string{`4: http.routes[0].match.path: "/a/../b" has a dot segment, which canonical paths have not`}},
	{"escape", route1("pool: web, match: {path: '/%2f'}"), []string{`4: http.routes[0].match.path: "/%2f" has % without two digits in 0-9 A-F behind it`}},
	{"pattern", route1("pool: web, match: {pattern: '/a{x}'}"), []string{
		`4: http.routes[0].match.pattern: "/a{x}" has the segment "a{x}"; braces stand around a whole segment, and only the last may be empty`}},
	{"pattern's capture", route1("pool: web, match: {pattern: '/{host}'}"), []string{"4: http.routes[0].match: captures {host}, which is the name of another value"}},
	{"regexp", route1("pool: web, match: {regexp: '('}"), []string{
		"4: http.routes[0].match.regexp: \"(\" is no regular expression (RE2): error parsing regexp: missing closing ): `(`"}},
	{"conditions", route1("pool: web, match: {headers: [{exact: a}, {name: a, exact: b, prefix: c}, {name: 'a b'}]}"), []string{
		"4: http.routes[0].match.headers[0].name: is missing; it is a name",
		"4: http.routes[0].match.headers[1]: has 2 comparisons; it has one of exact, prefix, suffix, contains, regexp and present",
		"4: http.routes[0].match.headers[2].name: \"a b\" is not a name of letters, digits and !#$%&'*+-.^_`|~"}},
	{"paths", route1("pool: web, paths: {dots: keep}"), []string{`4: http.routes[0].paths.dots: "keep" is not one of refuse, resolve`}},
	{"edits", route1("pool: web, request_headers: {remove: [Connection], set: [{name: Host, value: a}, {name: x, value: \"a\\nb\"}]}"), []string{
		`4: http.routes[0].request_headers.remove[0]: "Connection" cannot be edited: it is the connection's own (for host there is rewrite.host)`,
		`4: http.routes[0].request_headers.set[0].name: "Host" cannot be edited: it is the connection's own (for host there is rewrite.host)`,
		`4: http.routes[0].request_headers.set[1].value: "a\nb" has control characters`}},
	{"rewrite", route1("pool: web, rewrite: {path: a, regexp: x}"), []string{
		"4: http.routes[0].rewrite.path: cannot be beside regexp, strip_prefix and add_prefix",
		`4: http.routes[0].rewrite.path: "a" does not begin with / or {path}`}},
	{"cache", route1("pool: web, cache: {store: x, min_ttl: 2s, max_ttl: 1s, status_ttl: [{status: 9}]}"), []string{
		`4: http.routes[0].cache.store: there is no cache "x"`, "4: http.routes[0].cache.min_ttl: 2s is more than max_ttl (1s)",
		"4: http.routes[0].cache.status_ttl[0].ttl: is missing; it is how long such answers are kept",
		`4: http.routes[0].cache.status_ttl[0].status: "9" is not text (put it in quotes if it looks like a number)`}},
	{"access log", http1(listening + ", routes: [{name: r, pool: web}], access_log: [{file: x, format: template, sample: 0}]"), []string{
		"4: http.access_log[0].template: is missing; it is what is logged, as format is template", `4: http.access_log[0].file: "x" is not an absolute path`,
		"4: http.access_log[0].sample: 0 is not in 1..2147483647"}},

	{"pool's protocol", poolHTTP1("protocol: h2, algorithm: rr, key: x"), []string{
		"4: pools[0].http.tls: is missing; it is a mapping, as protocol is h2; without TLS it is h2c",
		`4: pools[0].http.algorithm: "rr" is not one of weighted_round_robin, round_robin, least_conn, random, maglev`,
		"4: pools[0].http.key: is for algorithm maglev only"}},
	{"pool", poolHTTP1("proxy_protocol: 3, tls: {key: /a, ca: b}, sticky: {}, hedge: {}, ejection: {longest: 1s}, retries: {status: '1000'}"), []string{
		"4: pools[0].http.proxy_protocol: 3 is not in 1..2", "4: pools[0].http.tls: has one of certificate and key; they go together",
		`4: pools[0].http.tls.ca: "b" is not an absolute path`, "4: pools[0].http.sticky.key_file: is missing; it is an absolute path",
		"4: pools[0].http.sticky.cookie: is missing; it is the name of a cookie",
		"4: pools[0].http.hedge.after: is missing; it is how late an answer must be, such as 100ms",
		"4: pools[0].http.ejection.longest: 1s is less than base (30s)",
		`4: pools[0].http.retries.status: "1000" is not codes in 100..599 such as 502-504`}},
	{"no port", head + "pools: [{name: web, backends: [{address: 10.0.0.1}]}]\nhttp: {" + listening + ", routes: [{name: r, pool: web}]}\n", []string{
		"2: pools[0].backends[0].address: 10.0.0.1 needs a port, as routes of http use the pool"}},
	{"local backend of a service", head + "pools: [{name: web, http: {}, backends: [{address: 127.0.0.1:80}]}]\n" + onWeb, []string{
		`4: services[0].pool: "web" has 127.0.0.1 (pools[0].backends[0]), which only routes of http can use`}},
}

func TestHTTPFaults(t *testing.T) {
	for _, c := range httpFaultCases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.file))
			if err == nil {
				t.Fatalf("accepted:\n%s", c.file)
			}
			if want := "f:" + strings.Join(c.want, "\nf:"); err.Error() != want {
				t.Errorf("got:\n%v\nwant:\n%s", err, want)
			}
		})
	}
}

func FuzzHTTP(f *testing.F) {
	for _, c := range httpFaultCases {
		f.Add([]byte(c.file))
	}
	example, err := os.ReadFile("../../deploy/weir-http.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err != nil || !c.HTTP.Enabled() {
			return
		}
		pools := map[string]*lb.PoolHTTP{}
		for _, p := range c.Pools {
			pools[p.Name] = p.HTTP
		}
		for _, name := range c.HTTP.Pools() {
			if pools[name] == nil {
				t.Errorf("pool %q of a route is not ready", name)
			}
		}
	})
}

func TestHTTPDefaults(t *testing.T) {
	c, err := Parse("f", []byte(route1("pool: web")))
	if err != nil {
		t.Fatal(err)
	}
	p, l, r := c.Pools[0].HTTP, c.HTTP.Listeners[0], c.HTTP.Routes[0]
	if p.Protocol != lb.UpstreamH1 || p.Algorithm != lb.HTTPWeighted || p.Ejection.Errors != 5 || p.Ejection.Percent != 10 || p.Retries.Attempts != 1 {
		t.Errorf("pool %+v", p)
	}
	if l.Addresses[0].String() != "[::]:80" || l.Limits.HeaderBytes != 32<<10 || l.Timeouts.Idle != 75*time.Second || !l.Protocols.H2 {
		t.Errorf("listener %+v", l)
	}
	if r.BodyBytes != -1 || r.Timeouts.Response != time.Minute || len(r.Split) != 1 || r.Split[0].Pool != "web" {
		t.Errorf("route %+v", r)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[size]int64{"0": 0, "512": 512, "64KiB": 64 << 10, "3MiB": 3 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40} {
		n, err := text.parse()
		if err != nil || n != want || size(writeSize(n)) != text {
			t.Errorf("%q is %d, %v, written %q", text, n, err, writeSize(n))
		}
	}
	for _, text := range []size{"", "-1", "1kB", "1 KiB", "9999999TiB", "KiB", "1.5MiB"} {
		if n, err := text.parse(); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
}
