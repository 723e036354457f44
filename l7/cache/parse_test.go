package cache

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"weir/l7/exchange"
)

func control(lines ...string) *exchange.Header {
	h := &exchange.Header{}
	for _, line := range lines {
		h.Add("Cache-Control", []byte(line))
	}
	return h
}

func TestReadControl(t *testing.T) {
	with := func(f func(d *directives)) directives {
		d := none()
		f(&d)
		return d
	}
	for _, c := range []struct {
		value string
		want  directives
	}{
		{"", none()},
		{" , ,", none()},
		{"no-store", with(func(d *directives) { d.noStore = true })},
		{"max-age=5", with(func(d *directives) { d.maxAge = 5 })},
		{"MAX-age=\"5\" , public", with(func(d *directives) { d.maxAge, d.public = 5, true })},
		{"max-age", with(func(d *directives) { d.maxAge = 0 })},
		{"max-age=", with(func(d *directives) { d.maxAge = 0 })},
		{"max-age=5 6, public", with(func(d *directives) { d.maxAge, d.public = 0, true })},
		{"max-age= 5", with(func(d *directives) { d.maxAge = 0 })},
		{"max-age=\"5", with(func(d *directives) { d.maxAge = 0 })},
		{"s-maxage=1,max-age=2,s-maxage=3", with(func(d *directives) { d.sMaxAge, d.maxAge = 1, 2 })},
		{"max-stale", with(func(d *directives) { d.maxStale = forever })},
		{"max-stale=7", with(func(d *directives) { d.maxStale = 7 })},
		{"max-stale=x", none()},
		{"min-fresh=x", none()},
		{"stale-if-error=9, stale-while-revalidate=8", with(func(d *directives) { d.staleIfError, d.staleWhileRevalidate = 9, 8 })},
		{"stale-if-error=x", none()},
		{"foo=\"no-store, \\\" private\", public", with(func(d *directives) { d.public = true })},
		{"no-store2, xno-store, must-revalidates", none()},
		{"no-cache=\"a\"", with(func(d *directives) { d.withheld = [][]byte{[]byte("a")} })},
		{"no-cache=a, private=\" b , c\"", with(func(d *directives) { d.withheld = [][]byte{[]byte("a"), []byte("b"), []byte("c")} })},
		{"private=\"a\\b\"", with(func(d *directives) { d.withheld = [][]byte{[]byte("ab")} })},
		{"private=\"\"", with(func(d *directives) { d.private = true })},
		{"private=\"a", with(func(d *directives) { d.private = true })},
		{"no-cache x", with(func(d *directives) { d.noCache = true })},
		{"max-age=99999999999999999999999", with(func(d *directives) { d.maxAge = forever })},
	} {
		if got := readControl(control(c.value)); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
			t.Errorf("%q:\n%+v, want\n%+v", c.value, got, c.want)
		}
	}
}

func FuzzReadControl(f *testing.F) {
	for _, value := range []string{"max-age=5, no-cache=\"a, b\"", "private=\"\\", "a=\"b", "max-age =1,,s-maxage=\"1\""} {
		f.Add(value, "public")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		d := readControl(control(one, two))
		for _, n := range []int64{d.maxAge, d.sMaxAge, d.maxStale, d.minFresh, d.staleIfError, d.staleWhileRevalidate} {
			if n < absent || n > forever {
				t.Fatalf("%q, %q: %+v", one, two, d)
			}
		}
		// What forbids storing counts whatever is around it.
		if strings.ContainsAny(one, "\"\\") {
			return
		}
		if d := readControl(control(one + ", no-store")); !d.noStore {
			t.Fatalf("%q hides no-store: %+v", one, d)
		}
		if d := readControl(control("private, " + one)); !d.private {
			t.Fatalf("%q hides private: %+v", one, d)
		}
	})
}

func TestAppendTight(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"  ":                     "",
		"a":                      "a",
		" a , b,\tc ":            "a,b,c",
		"a b":                    "a b",
		"a  b , c":               "a  b,c",
		",, a":                   ",,a",
		"\" a , b \" , c":        "\" a , b \",c",
		"\"a\\\" , \" , b":       "\"a\\\" , \",b",
		"\"a , ":                 "\"a , ",
		strings.Repeat(" ", 1e6): "",
	} {
		if got := string(appendTight(nil, []byte(in))); got != want {
			t.Errorf("%.50q is %q, want %q", in, got, want)
		}
	}
}

func TestParseDictionary(t *testing.T) {
	for _, c := range []struct {
		value string
		want  string // keys, or "error"
	}{
		{"", ""}, {"  ", ""},
		{"a", "a"}, {"a, b", "a b"}, {"a,b\t,\tc", "a b c"}, {"*a=1", "*a"},
		{"a=1;x;y=2, b=\"s\\\"\\\\\", c=tok/en:*, d=1.5, e=?0, f=:aGk=:, g=(1 \"a\" b;c);d, h=@1659578233", "a b c d e f g h"},
		{"a=1, a=2", "a"}, {"a=-999999999999999", "a"}, {"a=()", "a"},
		{"a,", "error"}, {",a", "error"}, {"a b", "error"}, {"A", "error"}, {"a=", "error"}, {"a=&", "error"},
		{"a=1.", "error"}, {"a=1.2345", "error"}, {"a=1234567890123456", "error"}, {"a=\"x", "error"}, {"a=\"\\x\"", "error"},
		{"a=\"\x01\"", "error"}, {"a=?2", "error"}, {"a=(1", "error"}, {"a=(1 2,3)", "error"}, {"a=:x", "error"},
		{"a;B", "error"}, {"a=@x", "error"}, {"a=@1.5", "error"}, {"a=1 ;b", "error"}, {"é", "error"},
	} {
		members, ok := parseDictionary([]byte(c.value))
		var keys []string
		for _, m := range members {
			keys = append(keys, string(m.key))
		}
		got := strings.Join(keys, " ")
		if !ok {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%q: %s, want %s", c.value, got, c.want)
		}
	}
}

func FuzzTargeted(f *testing.F) {
	f.Add("max-age=60;a=\"b\", no-store, x=(1 2);y")
	f.Fuzz(func(t *testing.T, value string) {
		h := &exchange.Header{}
		h.Add("CDN-Cache-Control", []byte(value))
		d, ok := readTargeted(h, "CDN-Cache-Control")
		if !ok && fmt.Sprint(d) != fmt.Sprint(none()) {
			t.Fatalf("%q: ignored, but %+v", value, d)
		}
		if members, fine := parseDictionary([]byte(value)); fine {
			seen := map[string]bool{}
			for _, m := range members {
				if len(m.key) == 0 || seen[string(m.key)] || m.kind == kindInteger && len(m.text) == 0 {
					t.Fatalf("%q: member %+v", value, m)
				}
				seen[string(m.key)] = true
			}
		}
	})
}

func TestKey(t *testing.T) {
	for _, c := range []struct {
		name   string
		key    Key
		secure bool
		host   string
		target string
		want   string
	}{
		{"all", Key{}, false, "a.org", "/p?b=2&a=1", "http://a.org/p?b=2&a=1"},
		{"secure", Key{}, true, "a.org", "/p", "https://a.org/p"},
		{"default port", Key{}, true, "a.org:443", "/p", "https://a.org/p"},
		{"other port", Key{}, true, "a.org:80", "/p", "https://a.org:80/p"},
		{"no host", Key{IgnoreHost: true}, false, "a.org", "/p", "http:///p"},
		{"no query", Key{IgnoreQuery: true}, false, "a.org", "/p?x", "http://a.org/p"},
		{"sorted", Key{SortQuery: true}, false, "a.org", "/p?b=2&a=3&a=1&c", "http://a.org/p?a=3&a=1&b=2&c"},
		{"included", Key{IncludeQuery: []string{"a", "c d"}}, false, "a.org", "/p?b=2&a=1&c+d=x&c%20d=y", "http://a.org/p?a=1&c+d=x&c%20d=y"},
		{"excluded", Key{ExcludeQuery: []string{"utm"}}, false, "a.org", "/p?utm=2&a=1&u%74m=3", "http://a.org/p?a=1"},
		{"nothing left", Key{ExcludeQuery: []string{"utm"}}, false, "a.org", "/p?utm=2", "http://a.org/p"},
		{"bad escape", Key{ExcludeQuery: []string{"a%"}}, false, "a.org", "/p?a%=1&b%zz=2", "http://a.org/p?b%zz=2"},
	} {
		c.key.complete()
		path, query, _ := strings.Cut(c.target, "?")
		if got := string(c.key.appendURL(nil, c.secure, []byte(c.host), []byte(path), []byte(query))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestExtraKey(t *testing.T) {
	r := newRig(t, Options{}, Policy{Key: Key{Headers: []string{"X-Country"}, Cookies: []string{"variant"}}})
	asked := r.echo("Cache-Control: max-age=60")
	for i, ask := range []string{
		"GET /", "GET /\nX-Country: de", "GET /\nX-Country: fr", "GET /\nX-Country:", "GET /\nCookie: variant=a",
		"GET /\nCookie: x=y; variant=b; z=1", "GET /\nX-Country: de\nCookie: variant=a", "GET /\nX-Country: d\nX-Country: e", "GET /\nCookie: variant=",
	} {
		r.ask(ask)
		if *asked != i+1 {
			t.Errorf("%q has the key of another", ask)
		}
		r.ask(ask)
		if *asked != i+1 {
			t.Errorf("%q has not its own key", ask)
		}
	}
	r.ask("GET /\nCookie: other=1; variant=a; variant=b")
	r.ask("GET /\nx-country: de\nCookie: v=1")
	if *asked != 9 {
		t.Errorf("asked %d times", *asked)
	}
	if n, err := r.cache.PurgeURL("http://example.org/"); n != 1 || err != nil {
		t.Errorf("purged %d, %v: all variants are one URL", n, err)
	}
}

// FuzzKey holds the filter of parameters to what net/url reads.
func FuzzKey(f *testing.F) {
	f.Add("a=1&b=2&utm=3&u%74m=4&&=x&+=y", true)
	f.Add("%=1&%zz&a%2=b", false)
	f.Fuzz(func(t *testing.T, query string, sorted bool) {
		if strings.ContainsAny(query, ";") { // net/url refuses it
			return
		}
		k := Key{ExcludeQuery: []string{"utm", "a b"}, SortQuery: sorted}
		k.complete()
		full := string(k.appendURL(nil, false, []byte("h"), []byte("/"), []byte(query)))
		_, kept, _ := strings.Cut(full, "?")
		want, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		got, err := url.ParseQuery(kept)
		if err != nil {
			t.Fatalf("%q became %q: %v", query, kept, err)
		}
		delete(want, "utm")
		delete(want, "a b")
		if len(got) != len(want) {
			t.Fatalf("%q became %q", query, kept)
		}
		for name, values := range want {
			if !slices.Equal(got[name], values) && !sorted {
				t.Fatalf("%q: %s is %q in %q", query, name, got[name], kept)
			}
		}
		again := string(k.appendURL(nil, false, []byte("h"), []byte("/"), []byte(kept)))
		if again != full && kept != "" {
			t.Fatalf("%q becomes %q, and that %q", query, full, again)
		}
	})
}
