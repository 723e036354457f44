package filter

import (
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/l7/addrset"
	"weir/l7/exchange"
	"weir/loader/lb"
)

func request(lines ...string) *exchange.Exchange {
	x := &exchange.Exchange{
		Client: &exchange.Client{Listener: "web", Remote: netip.MustParseAddrPort("[::ffff:10.0.0.1]:4000"), Local: netip.MustParseAddrPort("192.0.2.1:80")},
		Source: netip.MustParseAddr("10.0.0.1"), Began: time.Now(),
	}
	q := &x.Request
	q.Protocol, q.Method, q.Authority, q.Path = exchange.HTTP11, []byte("GET"), []byte("www.example.org"), []byte("/a/b")
	for _, line := range lines {
		name, v, _ := strings.Cut(line, ": ")
		q.Header.Add(name, []byte(v))
	}
	return x
}

func lines(h *exchange.Header) []string {
	all := []string{}
	for _, f := range h.Fields() {
		all = append(all, string(f.Text)+": "+string(f.Value))
	}
	return all
}

// served runs a filter before a handler that answers 200, and tells whether the
// request came so far.
func served(f Filter, x *exchange.Exchange, inside func(*exchange.Exchange)) (came bool) {
	f(exchange.HandlerFunc(func(x *exchange.Exchange) {
		came = true
		x.Response.Status = 200
		if inside != nil {
			inside(x)
		}
	})).Serve(x)
	return came
}

func template(t *testing.T, s string) lb.Template {
	t.Helper()
	out, err := lb.ParseTemplate(s, []string{"id", "rest"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSource(t *testing.T) {
	trusted := addrset.New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")})
	for _, c := range []struct {
		name    string
		trusted addrset.Set
		lines   []string
		want    string
	}{
		{"nobody is trusted", addrset.Set{}, []string{"X-Forwarded-For: 1.1.1.1"}, "10.0.0.1"},
		{"one", trusted, []string{"X-Forwarded-For: 1.1.1.1"}, "1.1.1.1"},
		{"what the client says is left aside", trusted, []string{"X-Forwarded-For: 9.9.9.9, 1.1.1.1"}, "1.1.1.1"},
		{"through several", trusted, []string{"X-Forwarded-For: 9.9.9.9, 1.1.1.1 , 10.0.0.2,10.0.0.3"}, "1.1.1.1"},
		{"in several fields", trusted, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 10.0.0.3"}, "1.1.1.1"},
		{"all trusted", trusted, []string{"X-Forwarded-For: 10.0.0.2, 10.0.0.3"}, "10.0.0.2"},
		{"garbage", trusted, []string{"X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.3"}, "10.0.0.3"},
		{"nothing", trusted, nil, "10.0.0.1"},
		{"empty", trusted, []string{"X-Forwarded-For: "}, "10.0.0.1"},
		{"with a port", trusted, []string{"X-Forwarded-For: 1.1.1.1:99"}, "1.1.1.1"},
		{"IPv6", trusted, []string{"X-Forwarded-For: [2001:db9::1]:99, 2001:db8::2"}, "2001:db9::1"},
		{"Forwarded", trusted, []string{`Forwarded: for=9.9.9.9, for="[2001:db9::1]:80";proto=https, For=10.0.0.3`}, "2001:db9::1"},
		{"obfuscated", trusted, []string{"Forwarded: for=_hidden"}, "10.0.0.1"},
	} {
		x := request(c.lines...)
		served(Source(c.trusted), x, nil)
		if x.Source.String() != c.want || x.Trusted != !c.trusted.Empty() {
			t.Errorf("%s: %s, trusted %v; want %s", c.name, x.Source, x.Trusted, c.want)
		}
	}
}

func TestForwarded(t *testing.T) {
	for _, c := range []struct {
		name    string
		style   lb.ForwardedStyle
		trusted bool
		lines   []string
		want    []string
	}{
		{"x", lb.ForwardedX, false, []string{"Accept: */*"}, []string{"Accept: */*", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: www.example.org"}},
		{"lies go", lb.ForwardedX, false, []string{"x-forwarded-for: 1.1.1.1", "X-FORWARDED-Prefix: /x", "Forwarded: for=1.1.1.1", "X-Real-Ip: 1", "X-Forwarded: 1"},
			[]string{"X-Forwarded: 1", "X-Forwarded-For: 10.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: www.example.org"}},
		{"continued", lb.ForwardedX, true, []string{"X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 10.0.0.3", "X-Forwarded-Proto: https", "X-Forwarded-Host: a"},
			[]string{"X-Forwarded-Proto: https", "X-Forwarded-Host: a", "X-Forwarded-For: 1.1.1.1, 10.0.0.3, 10.0.0.1"}},
		{"none", lb.ForwardedNone, false, []string{"X-Forwarded-For: 1.1.1.1"}, []string{}},
		{"none, trusted", lb.ForwardedNone, true, []string{"X-Forwarded-For: 1.1.1.1"}, []string{"X-Forwarded-For: 1.1.1.1"}},
		{"rfc7239", lb.ForwardedRFC, false, []string{"Forwarded: for=1.1.1.1"}, []string{`Forwarded: for=10.0.0.1;host="www.example.org";proto=http`}},
		{"rfc7239, continued", lb.ForwardedRFC, true, []string{"Forwarded: for=1.1.1.1"}, []string{`Forwarded: for=1.1.1.1, for=10.0.0.1;host="www.example.org";proto=http`}},
	} {
		x := request(c.lines...)
		x.Trusted = c.trusted
		served(Forwarded(c.style), x, nil)
		if got := lines(&x.Request.Header); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	x := request()
	x.Client.Remote = netip.MustParseAddrPort("[2001:db8::1]:80")
	x.Client.TLS = &tls.ConnectionState{}
	served(Forwarded(lb.ForwardedBoth), x, nil)
	if got := string(x.Request.Header.Get(exchange.Forwarded)); got != `for="[2001:db8::1]";host="www.example.org";proto=https` {
		t.Error(got)
	}
}

func TestForwardedMakesNoGarbage(t *testing.T) {
	x := request("Accept: */*", "User-Agent: x", "Cookie: a=b")
	h := Forwarded(lb.ForwardedX)(Via("weir-1")(exchange.HandlerFunc(func(*exchange.Exchange) {})))
	before := slices.Clone(x.Request.Header.Fields())
	n := testing.AllocsPerRun(100, func() {
		client, source := x.Client, x.Source
		q := x.Request
		x.Reset()
		x.Client, x.Source = client, source
		x.Request.Authority, x.Request.Protocol = q.Authority, q.Protocol
		for _, f := range before {
			x.Request.Header.Append(f.ID, f.Text, f.Value)
		}
		h.Serve(x)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestVia(t *testing.T) {
	x := request("Via: 1.0 other")
	if !served(Via("weir-1"), x, nil) || !slices.Equal(lines(&x.Request.Header), []string{"Via: 1.0 other", "Via: 1.1 weir-1"}) {
		t.Errorf("%q", lines(&x.Request.Header))
	}
	x = request("Via: 1.0 other, 2.0 weir-1")
	if served(Via("weir-1"), x, nil) || x.Response.Status != 508 {
		t.Errorf("a loop is answered %d", x.Response.Status)
	}
}

func TestRequestID(t *testing.T) {
	for _, c := range []struct {
		name string
		o    lb.RequestID
		sent string
		kept bool
	}{
		{"new", lb.RequestID{Header: "X-Request-Id"}, "", false},
		{"not trusted", lb.RequestID{Header: "x-request-id", Answer: true}, "mine", false},
		{"trusted", lb.RequestID{Header: "X-Trace", Trust: true, Answer: true}, "mine", true},
		{"odd", lb.RequestID{Header: "X-Trace", Trust: true}, "a b", false},
		{"long", lb.RequestID{Header: "X-Trace", Trust: true}, strings.Repeat("a", 129), false},
	} {
		x := request()
		if c.sent != "" {
			x.Request.Header.Add(c.o.Header, []byte(c.sent))
		}
		x.Response.Prebuilt = []byte("x")
		served(RequestID(c.o), x, nil)
		got := string(x.Request.Header.GetText(c.o.Header))
		if (got == c.sent) != c.kept || !c.kept && len(got) != 32 || got != string(x.ID) {
			t.Errorf("%s: %q", c.name, got)
		}
		if told := string(x.Response.Header.GetText(c.o.Header)); (told == got) != c.o.Answer || c.o.Answer && x.Response.Prebuilt != nil {
			t.Errorf("%s: told %q", c.name, told)
		}
	}
	a, b := newID(nil), newID(nil)
	if string(a) == string(b) {
		t.Error("two are the same")
	}
}

func TestMisdirected(t *testing.T) {
	f := Misdirected(func(host string) bool { return host == "admin.example.org" })
	for _, c := range []struct {
		host, sni string
		want      bool
	}{
		{"admin.example.org:443", "admin.example.org", true}, {"admin.example.org", "www.example.org", false}, {"admin.example.org", "", false},
		{"www.example.org", "admin.example.org", true}, {"admin.example.org.", "Admin.example.org", true},
	} {
		x := request()
		x.Request.Authority = []byte(c.host)
		x.Client.TLS = &tls.ConnectionState{ServerName: c.sni}
		if got := served(f, x, nil); got != c.want || !got && x.Response.Status != 421 {
			t.Errorf("%s by %q: served %v, %d", c.host, c.sni, got, x.Response.Status)
		}
	}
	if !served(f, request(), nil) {
		t.Error("refused without TLS")
	}
}

type chunked struct{ io.Reader }

func (chunked) Close() error { return nil }

func TestBody(t *testing.T) {
	for _, c := range []struct {
		name   string
		length int64
		body   string
		status int
	}{
		{"none", 0, "", 200}, {"known", 5, "12345", 200}, {"known to be over", 6, "123456", 413},
		{"unknown", exchange.Unknown, "12345", 200}, {"unknown and over", exchange.Unknown, "123456", 413},
	} {
		x := request()
		x.Request.Length = c.length
		if c.body != "" {
			x.Request.Body = chunked{strings.NewReader(c.body)}
		}
		served(Body(5), x, func(x *exchange.Exchange) {
			if x.Request.Body == nil {
				return
			}
			got, err := io.ReadAll(x.Request.Body)
			if !strings.HasPrefix(c.body, string(got)) || len(got) > 5 {
				t.Errorf("%s: read %q", c.name, got)
			}
			if errors.Is(err, ErrBodyTooLarge) {
				x.Fail(502, "sending the body: "+err.Error())
			}
		})
		if x.Response.Status != c.status {
			t.Errorf("%s: %d, want %d", c.name, x.Response.Status, c.status)
		}
	}
}

func TestDeadline(t *testing.T) {
	x := request()
	o := lb.RouteTimeouts{Request: time.Minute, Response: time.Second, Idle: time.Hour}
	served(Deadline(o), x, func(x *exchange.Exchange) {
		if at, ok := x.Context().Deadline(); !ok || !at.Equal(x.Began.Add(time.Minute)) {
			t.Errorf("deadline %v", at)
		}
	})
	if x.Answer != time.Second || x.TunnelIdle != time.Hour {
		t.Errorf("answer %s, tunnel %s", x.Answer, x.TunnelIdle)
	}
	ctx := x.Context()
	if ctx.Err() != nil {
		t.Error("over before the end")
	}
	if x.End(); ctx.Err() == nil {
		t.Error("not over at the end")
	}
	x = request()
	served(Deadline(lb.RouteTimeouts{}), x, nil)
	if !x.Deadline.IsZero() {
		t.Error("a deadline that nobody set")
	}
}

func TestHeaders(t *testing.T) {
	o := lb.HeaderEdits{
		Remove: []string{"server", "X-Internal-*"},
		Set:    []lb.HeaderValue{{Name: "X-Path", Value: template(t, "{header:X-Path}{id}")}, {Name: "X-None", Value: template(t, "{header:No}")}},
		Add:    []lb.HeaderValue{{Name: "Vary", Value: template(t, "Accept")}},
	}
	path := lb.PathMatch{Kind: lb.PatternPath, Text: "/a/{id}"}
	in := []string{"Server: x", "X-Path: 1", "x-internal-a: 1", "X-INTERNAL-B: 2", "X-Internal: 3", "X-None: 1", "Vary: Origin", "x-path: 2"}
	want := []string{"X-Internal: 3", "Vary: Origin", "X-Path: 1b", "Vary: Accept"}
	requests, err := RequestHeaders(o, path)
	if err != nil {
		t.Fatal(err)
	}
	x := request(in...)
	served(requests, x, func(x *exchange.Exchange) {
		if got := lines(&x.Request.Header); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
	o.Set[0].Value = template(t, "{response_header:X-Path}{id}")
	responses, err := ResponseHeaders(o, path)
	if err != nil {
		t.Fatal(err)
	}
	x = request()
	served(responses, x, func(x *exchange.Exchange) {
		x.Response.Header, x.Response.Prebuilt = request(in...).Request.Header, []byte("x")
	})
	if got := lines(&x.Response.Header); !slices.Equal(got, want) || x.Response.Prebuilt != nil {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRewrite(t *testing.T) {
	pattern := lb.PathMatch{Kind: lb.PatternPath, Text: "/a/{id}"}
	for _, c := range []struct {
		name        string
		o           lb.Rewrite
		path, query string
		want        string // "": refused
	}{
		{"path", lb.Rewrite{Path: template(t, "/items/{id}/x")}, "/a/7", "q=1", "www.example.org/items/7/x?q=1"},
		{"path with a parameter", lb.Rewrite{Path: template(t, "/i/{query:q}")}, "/a/7", "q=x%2Fy", "www.example.org/i/x%2Fy?q=x%2Fy"},
		{"path that leads up", lb.Rewrite{Path: template(t, "/i/{query:q}")}, "/a/7", "q=..", ""},
		{"strip", lb.Rewrite{StripPrefix: "/a"}, "/a/7", "", "www.example.org/7?"},
		{"strip all", lb.Rewrite{StripPrefix: "/a"}, "/a", "", "www.example.org/?"},
		{"strip a part of a segment", lb.Rewrite{StripPrefix: "/a"}, "/ab", "", "www.example.org/ab?"},
		{"add", lb.Rewrite{AddPrefix: "/v2"}, "/a", "", "www.example.org/v2/a?"},
		{"both", lb.Rewrite{StripPrefix: "/a", AddPrefix: "/v2"}, "/a/7", "", "www.example.org/v2/7?"},
		{"expression", lb.Rewrite{Regexp: "^/(.)/", Replacement: "/lang/$1/"}, "/a/7", "", "www.example.org/lang/a/7?"},
		{"to nothing", lb.Rewrite{Regexp: ".*", Replacement: ""}, "/a/7", "", "www.example.org/?"},
		{"to something foreign", lb.Rewrite{Regexp: "7", Replacement: "ä b"}, "/a/7", "", ""},
		{"to dots", lb.Rewrite{Regexp: "7", Replacement: ".."}, "/a/7", "", ""},
		{"host", lb.Rewrite{Host: template(t, "{id}.internal")}, "/a/7", "", "7.internal/a/7?"},
		{"query", lb.Rewrite{RemoveQuery: []string{"b"}, SetQuery: []lb.HeaderValue{{Name: "x y", Value: template(t, "{id}&")}}}, "/a/7", "a=1&b=2&%62=3&x+y=4&&c", "www.example.org/a/7?a=1&c&x+y=7%26"},
	} {
		f, err := Rewrite(c.o, pattern)
		if err != nil {
			t.Fatal(err)
		}
		x := request()
		x.Request.Path, x.Request.Query = []byte(c.path), []byte(c.query)
		got := ""
		served(f, x, func(x *exchange.Exchange) {
			got = string(x.Request.Authority) + string(x.Request.Path) + "?" + string(x.Request.Query)
		})
		if got != c.want || got == "" && x.Response.Status != 400 {
			t.Errorf("%s: %q (%d), want %q", c.name, got, x.Response.Status, c.want)
		}
		if string(x.Request.Path) != c.path || string(x.Request.Query) != c.query || string(x.Request.Authority) != "www.example.org" {
			t.Errorf("%s: the request stays %q", c.name, x.Request.Path)
		}
	}
}

func TestRedirect(t *testing.T) {
	for _, c := range []struct{ location, path, want string }{
		{"https://{hostname}{uri}", "/a", "https://www.example.org/a?q=1"},
		{"{path}", "//evil.example", "/evil.example"},
		{"/x/{query:q}", "/a", "/x/1"},
	} {
		h, err := Redirect(lb.Redirect{Status: 308, Location: template(t, c.location)}, lb.PathMatch{})
		if err != nil {
			t.Fatal(err)
		}
		x := request()
		x.Request.Path, x.Request.Query = []byte(c.path), []byte("q=1")
		h.Serve(x)
		if got := string(x.Response.Header.Get(exchange.Location)); got != c.want || x.Response.Status != 308 {
			t.Errorf("%s of %s: %d %q, want %q", c.location, c.path, x.Response.Status, got, c.want)
		}
	}
}

func TestRespond(t *testing.T) {
	x := request()
	Respond(lb.Respond{Status: 200, ContentType: "text/plain", Body: "hello"}).Serve(x)
	if b, err := io.ReadAll(x.Response.Body); err != nil || string(b) != "hello" || x.Response.Length != 5 {
		t.Errorf("%q %v", b, err)
	}
	x = request()
	x.Request.Method = []byte("HEAD")
	Respond(lb.Respond{Status: 200, ContentType: "text/plain", Body: "hello"}).Serve(x)
	if x.Response.Body != nil || x.Response.Length != 5 {
		t.Errorf("HEAD: %+v", x.Response)
	}
}

// The order is the behaviour.
func TestChain(t *testing.T) {
	var order []string
	named := func(name string) Filter {
		return func(next exchange.Handler) exchange.Handler {
			return exchange.HandlerFunc(func(x *exchange.Exchange) {
				order = append(order, name)
				next.Serve(x)
			})
		}
	}
	c := Chain{
		RequestID: named("id"), Misdirected: named("misdirected"), Body: named("body"), Deadline: named("deadline"), RequestHeaders: named("request"),
		ResponseHeaders: named("response"), Cache: named("cache"), Compress: named("compress"), Forwarded: named("forwarded"), Via: named("via"),
		Rewrite: named("rewrite"), Mirror: named("mirror"),
	}
	c.Around(exchange.HandlerFunc(func(*exchange.Exchange) { order = append(order, "handler") })).Serve(request())
	if got := strings.Join(order, " "); got != "id misdirected body deadline request response cache compress forwarded via rewrite mirror handler" {
		t.Error(got)
	}
}

// FuzzSource holds that nobody but a trusted proxy's word makes a source, and
// that the fields that are passed on can be sent.
func FuzzSource(f *testing.F) {
	f.Add("1.1.1.1, 10.0.0.2", `for="[2001:db8::1]:80";proto=https, for=unknown`)
	f.Add(",,", `for="a,b";;`)
	trusted := addrset.New([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	f.Fuzz(func(t *testing.T, xff, forwarded string) {
		x := request()
		x.Request.Header.Add("Forwarded", []byte(forwarded))
		if xff != "" {
			x.Request.Header.Add("X-Forwarded-For", []byte(xff))
		}
		served(Source(trusted), x, nil)
		if !x.Source.IsValid() || !strings.Contains(xff+forwarded+"10.0.0.1", x.Source.String()) && !x.Source.Is6() && !strings.Contains(xff+forwarded, ":") {
			t.Errorf("%q, %q: source %s", xff, forwarded, x.Source)
		}
		x.Trusted = false
		served(Forwarded(lb.ForwardedBoth), x, func(x *exchange.Exchange) {
			if got := string(x.Request.Header.Get(exchange.XForwardedFor)); got != "10.0.0.1" {
				t.Errorf("X-Forwarded-For %q", got)
			}
		})
	})
}
