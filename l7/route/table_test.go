package route

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/l7/exchange"
	"weir/loader/lb"
)

func by(kind lb.PathKind, text string) lb.Match {
	return lb.Match{Path: lb.PathMatch{Kind: kind, Text: text}}
}

func on(m lb.Match, hosts ...string) lb.Match {
	m.Hosts = hosts
	return m
}

func rules(matches map[string]lb.Match, order ...string) []Rule {
	var all []Rule
	for _, name := range order {
		all = append(all, Rule{Name: name, Match: matches[name], Paths: refuseAll})
	}
	return all
}

var precedence = map[string]lb.Match{
	"any":           {},
	"exact":         by(lb.ExactPath, "/a/b"),
	"exact slash":   by(lb.ExactPath, "/a/b/"),
	"prefix":        by(lb.PrefixPath, "/a/b"),
	"root":          by(lb.PrefixPath, "/"),
	"short prefix":  by(lb.PrefixPath, "/a/"),
	"one":           by(lb.PatternPath, "/a/{id}"),
	"one and text":  by(lb.PatternPath, "/a/{id}/edit"),
	"rest":          by(lb.PatternPath, "/files/{name...}"),
	"tree":          by(lb.PatternPath, "/tree/"),
	"end":           by(lb.PatternPath, "/only/{$}"),
	"expression":    by(lb.RegexpPath, "/[0-9]+"),
	"first digits":  by(lb.RegexpPath, "/1.*"),
	"host":          on(lb.Match{}, "www.example.org"),
	"host exact":    on(by(lb.ExactPath, "/a/b"), "www.example.org"),
	"wildcard":      on(lb.Match{}, "*.example.org"),
	"long wildcard": on(lb.Match{}, "*.b.example.org"),
	"v6":            on(lb.Match{}, "[2001:db8::1]"),
}

func TestPrecedence(t *testing.T) {
	var names []string
	for name := range precedence {
		names = append(names, name)
	}
	cases := []struct{ host, target, want string }{
		{"x", "/", "root"}, {"x", "/zzz", "root"},
		{"x", "/a/b", "exact"}, {"x", "/a/b/", "exact slash"}, {"x", "/a/b/c", "prefix"}, {"x", "/a/bc", "one"},
		{"x", "/a", "short prefix"}, {"x", "/a/", "short prefix"}, {"x", "/a/x", "one"}, {"x", "/a/x/edit", "one and text"},
		{"x", "/a/x/y", "short prefix"}, {"x", "/a/b/edit", "prefix"}, {"x", "/ab", "root"},
		{"x", "/files/", "rest"}, {"x", "/files/a/b", "rest"}, {"x", "/files", "root"},
		{"x", "/tree/", "tree"}, {"x", "/tree/a", "tree"}, {"x", "/tree", "root"},
		{"x", "/only/", "end"}, {"x", "/only/x", "root"}, {"x", "/only", "root"},
		{"x", "/42", "expression"}, {"x", "/42x", "root"}, {"x", "/x42", "root"},
		{"www.example.org", "/", "host"}, {"www.example.org:8080", "/a", "host"}, {"www.example.org", "/a/b", "host exact"},
		{"www.example.org.", "/", "host"}, {"ftp.example.org", "/a/b", "wildcard"}, {"a.b.example.org", "/", "long wildcard"},
		{"x.a.b.example.org:1", "/", "long wildcard"}, {"b.example.org", "/", "wildcard"},
		{"example.org", "/", "root"}, {".example.org", "/", "root"}, {"notexample.org", "/", "root"}, {"", "/", "root"},
		{"[2001:db8::1]", "/", "v6"}, {"[2001:db8::1]:80", "/", "v6"},
	}
	for range 20 { // the order in the file does not matter to these
		rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		order := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "first digits" })
		table, err := New(rules(precedence, order...))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			if got := routeOf(table, c.host, c.target); got != c.want {
				t.Errorf("%s%s goes to %q, want %q (order %q)", c.host, c.target, got, c.want, order)
			}
		}
	}
}

func routeOf(table *Table, host, target string) string {
	x := request("GET", target)
	x.Request.Authority = []byte(host)
	if r, _, _ := table.choose(x, nil); r != nil {
		return r.Name
	}
	return ""
}

func TestOrderOfTheFile(t *testing.T) {
	for _, c := range []struct{ order, target, want string }{
		{"expression, first digits, any", "/12", "expression"},
		{"first digits, expression, any", "/12", "first digits"},
		{"expression, first digits, any", "/1x", "first digits"},
		{"any, expression", "/1", "expression"},
		{"any", "/1", "any"},
		{"exact", "/1", ""},
	} {
		table, err := New(rules(precedence, strings.Split(c.order, ", ")...))
		if err != nil {
			t.Fatal(err)
		}
		if got := routeOf(table, "x", c.target); got != c.want {
			t.Errorf("%s: %s goes to %q, want %q", c.order, c.target, got, c.want)
		}
	}
}

func TestConditions(t *testing.T) {
	is := func(name string, op lb.ConditionOp, value string) []lb.Condition {
		return []lb.Condition{{Name: name, Op: op, Value: value}}
	}
	for _, c := range []struct {
		name string
		m    lb.Match
		want string
	}{
		{"method", lb.Match{Methods: []string{"PUT", "POST"}}, ""},
		{"other method", lb.Match{Methods: []string{"GET", "post"}}, missMethod},
		{"exact header", lb.Match{Headers: is("x-tenant", lb.IsExact, "blue")}, ""},
		{"second value", lb.Match{Headers: is("X-Tenant", lb.IsExact, "red")}, ""},
		{"other value", lb.Match{Headers: is("X-Tenant", lb.IsExact, "Blue")}, missHeader},
		{"prefix", lb.Match{Headers: is("X-Tenant", lb.HasPrefix, "bl")}, ""},
		{"suffix", lb.Match{Headers: is("X-Tenant", lb.HasSuffix, "ue")}, ""},
		{"longer than the value", lb.Match{Headers: is("X-Tenant", lb.HasSuffix, "light blue")}, missHeader},
		{"contains", lb.Match{Headers: is("X-Tenant", lb.Contains, "lu")}, ""},
		{"expression", lb.Match{Headers: is("X-Tenant", lb.MatchesRegexp, "^b.*e$")}, ""},
		{"present", lb.Match{Headers: is("X-Tenant", lb.IsPresent, "")}, ""},
		{"not present", lb.Match{Headers: is("X-Other", lb.IsPresent, "")}, missHeader},
		{"absent", lb.Match{Headers: is("X-Other", lb.IsAbsent, "")}, ""},
		{"not absent", lb.Match{Headers: is("X-Tenant", lb.IsAbsent, "")}, missHeader},
		{"parameter", lb.Match{Query: is("q", lb.IsExact, "a b&c")}, ""},
		{"encoded name", lb.Match{Query: is("käse", lb.IsExact, "1")}, ""},
		{"parameter without a value", lb.Match{Query: is("flag", lb.IsPresent, "")}, ""},
		{"other parameter", lb.Match{Query: is("Q", lb.IsPresent, "")}, missQuery},
		{"broken parameter", lb.Match{Query: is("bad", lb.IsPresent, "")}, missQuery},
		{"cookie", lb.Match{Cookies: is("b", lb.IsExact, "2")}, ""},
		{"quoted cookie", lb.Match{Cookies: is("c", lb.IsExact, "x y")}, ""},
		{"part of a cookie's name", lb.Match{Cookies: is("ession", lb.IsPresent, "")}, missCookie},
		{"source", lb.Match{Sources: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, ""},
		{"other source", lb.Match{Sources: []netip.Prefix{netip.MustParsePrefix("11.0.0.0/8")}}, missSource},
	} {
		x := request("POST", "/a?q=a+b%26c&k%C3%A4se=1&flag&bad=%zz")
		x.Source = netip.MustParseAddr("10.1.2.3")
		x.Request.Header.Add("X-Tenant", []byte("blue"))
		x.Request.Header.Add("x-tenant", []byte("red"))
		x.Request.Header.Add("Cookie", []byte(`session=1; b=2;c="x y"`))
		table, err := New([]Rule{{Name: "r", Match: c.m}})
		if err != nil {
			t.Fatal(err)
		}
		d := table.Explain(x)
		if len(d.Tried) != 1 || d.Tried[0].Why != c.want || (d.Route == "r") != (c.want == "") {
			t.Errorf("%s: %+v, want %q", c.name, d, c.want)
		}
	}
}

func TestMoreConditionsComeFirst(t *testing.T) {
	header := lb.Condition{Name: "X-A", Op: lb.IsPresent}
	table, err := New([]Rule{
		{Name: "none", Match: by(lb.ExactPath, "/a")},
		{Name: "get", Match: lb.Match{Path: lb.PathMatch{Kind: lb.ExactPath, Text: "/a"}, Methods: []string{"GET"}}},
		{Name: "both", Match: lb.Match{Path: lb.PathMatch{Kind: lb.ExactPath, Text: "/a"}, Methods: []string{"GET"}, Headers: []lb.Condition{header}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	x := request("GET", "/a")
	if d := table.Explain(x); d.Route != "get" {
		t.Errorf("%+v", d)
	}
	x.Request.Header.Add("x-a", []byte("1"))
	if d := table.Explain(x); d.Route != "both" {
		t.Errorf("%+v", d)
	}
	if d := table.Explain(request("PUT", "/a")); d.Route != "none" {
		t.Errorf("%+v", d)
	}
}

func TestRefusals(t *testing.T) {
	ok := exchange.HandlerFunc(func(x *exchange.Exchange) { x.Response.Status = 200 })
	table, err := New([]Rule{
		{Name: "get", Handler: ok, Match: lb.Match{Path: lb.PathMatch{Kind: lb.ExactPath, Text: "/a"}, Methods: []string{"GET", "HEAD"}}},
		{Name: "put", Handler: ok, Match: lb.Match{Path: lb.PathMatch{Kind: lb.PrefixPath, Text: "/a"}, Methods: []string{"PUT", "GET"}}},
		{Name: "decode", Handler: ok, Match: by(lb.PrefixPath, "/files"), Paths: resolveAll},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, target string
		status         int
		allow          string
	}{
		{"GET", "/a", 200, ""}, {"PUT", "/a", 200, ""}, {"DELETE", "/a", 405, "GET, HEAD, PUT"}, {"POST", "/a/b", 405, "GET, PUT"},
		{"GET", "/b", 404, ""}, {"GET", "/a//b", 400, ""}, {"GET", "/files/a%2Fb", 200, ""},
		{"GET", "/files%2f..%2fa", 404, ""},                // no route has the segment files%2F..%2Fa
		{"GET", "/files/..%2f..%2fa", 400, ""},             // above the root
		{"GET", "/files/x%2f..%2f..%2fa", 400, ""},         // another route, which refuses escaped slashes
		{"GET", "/files/x%2f..%2f..%2ffiles%2Fa", 200, ""}, // itself
		{"PUT", "/files/../a/b", 400, ""}, {"GET", "a", 400, ""},
	} {
		x := request(c.method, c.target)
		table.Serve(x)
		if x.Response.Status != c.status || string(x.Response.Header.GetText("Allow")) != c.allow {
			t.Errorf("%s %s: %d %q (%s), want %d %q", c.method, c.target, x.Response.Status, x.Response.Header.GetText("Allow"), x.Failure, c.status, c.allow)
		}
	}
}

func TestBadRules(t *testing.T) {
	for _, c := range []struct {
		m    lb.Match
		want string
	}{
		{by(lb.RegexpPath, "("), "route r: error parsing regexp: missing closing ): `^(?:()$`"},
		{by(lb.PatternPath, "/{a"), `route r: path "/{a" has the segment "{a"; braces stand around a whole segment, and only the last may be empty`},
		{by(lb.ExactPath, "a"), `route r: path "a" does not begin with /`},
		{lb.Match{Query: []lb.Condition{{Name: "q", Op: lb.MatchesRegexp, Value: "("}}}, "route r: condition on q: error parsing regexp: missing closing ): `(`"},
	} {
		if _, err := New([]Rule{{Name: "r", Match: c.m}}); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// many is a table with n routes: for each host some exact paths, prefixes and
// patterns. targets are requests for them.
func many(n int) (t *Table, hosts, targets []string) {
	var all []Rule
	for i := range n {
		host, text := fmt.Sprintf("host-%d.example.org", i/10), fmt.Sprintf("/service-%d/items", i)
		target := text
		kind := []lb.PathKind{lb.ExactPath, lb.PrefixPath, lb.PatternPath}[i%3]
		switch kind {
		case lb.PrefixPath:
			target += "/a/b"
		case lb.PatternPath:
			text, target = text+"/{id}", text+"/7"
		}
		all = append(all, Rule{Name: text, Match: on(by(kind, text), host)})
		hosts, targets = append(hosts, host), append(targets, target)
	}
	t, err := New(all)
	if err != nil {
		panic(err)
	}
	return t, hosts, targets
}

// BenchmarkRoutes prints what a look-up among 10,000 routes costs over one
// among 10, for the same ten requests.
func BenchmarkRoutes(b *testing.B) {
	few, hosts, targets := many(10)
	lots, _, _ := many(10_000)
	xs := make([]*exchange.Exchange, len(targets))
	for i := range xs {
		xs[i] = request("GET", targets[i])
		xs[i].Request.Authority = []byte(hosts[i])
	}
	turn := func(t *Table) time.Duration {
		start := time.Now()
		for _, x := range xs {
			if r, _, _ := t.choose(x, nil); r == nil {
				b.Fatalf("no route for %s", x.Request.Target)
			}
		}
		return time.Since(start)
	}
	var ofFew, ofLots time.Duration
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		ofFew += turn(few)
		ofLots += turn(lots)
		n += len(xs)
	}
	b.ReportMetric(float64(ofFew)/float64(n), "ns/10-routes")
	b.ReportMetric(float64(ofLots)/float64(n), "ns/10000-routes")
	b.ReportMetric(float64(ofLots)/float64(ofFew), "ratio")
}

func TestNoAllocations(t *testing.T) {
	table, err := New([]Rule{
		{Name: "tenant", Match: lb.Match{
			Path: lb.PathMatch{Kind: lb.PatternPath, Text: "/a/{id}"}, Methods: []string{"GET"}, Headers: []lb.Condition{{Name: "X-Tenant", Op: lb.IsExact, Value: "a"}},
			Cookies: []lb.Condition{{Name: "c", Op: lb.IsPresent}}, Query: []lb.Condition{{Name: "q", Op: lb.IsExact, Value: "1"}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	x := request("GET", "/a/%62?q=1")
	x.Request.Header.Add("X-Tenant", []byte("a"))
	x.Request.Header.Add("Cookie", []byte("c=1"))
	target := x.Request.Target
	x.Room(3)
	n := testing.AllocsPerRun(100, func() {
		x.Request.Target = target
		if r, _, _ := table.choose(x, nil); r == nil {
			t.Fatal("no route")
		}
	})
	if n > 0.5 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzConditions holds the parsers of queries and cookies to net/http's.
func FuzzConditions(f *testing.F) {
	f.Add("a=1&b=2&a=%33", "a=1; b=\"2\";c")
	f.Add("&&=&a&%zz=1", "; =; a=;a==b")
	f.Fuzz(func(t *testing.T, query, cookies string) {
		want, _ := url.ParseQuery(query) // what it could read, too
		for name, values := range want {
			if strings.Contains(query, ";") {
				break // net/url leaves such parameters out
			}
			v, _, found := NextParameter([]byte(query), name)
			if !found || string(v) != values[0] {
				t.Errorf("%q: %q is %q, %v, want %q", query, name, v, found, values[0])
			}
		}
		for rest := []byte(cookies); ; {
			v, behind, found := NextCookie(rest, "a")
			if !found {
				break
			}
			if !strings.Contains(cookies, string(v)) || len(behind) >= len(rest) {
				t.Errorf("%q: %q, then %q", cookies, v, behind)
			}
			rest = behind
		}
	})
}
