package route

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"weir/l7/exchange"
	"weir/loader/lb"
)

func request(method, target string) *exchange.Exchange {
	x := &exchange.Exchange{}
	x.Request.Method, x.Request.Target = []byte(method), []byte(target)
	return x
}

var (
	refuseAll  lb.PathPolicy
	resolveAll = lb.PathPolicy{Dots: lb.PathResolve, DoubleSlash: lb.PathResolve, EscapedSlash: lb.PathResolve}
	keepAll    = lb.PathPolicy{Dots: lb.PathResolve, DoubleSlash: lb.PathKeep, EscapedSlash: lb.PathKeep}
)

func TestPaths(t *testing.T) {
	const no = "refused"
	for _, c := range []struct{ target, refuse, resolve, keep string }{
		{"/", "/", "/", "/"},
		{"/a/b", "/a/b", "/a/b", "/a/b"},
		{"/a/b/?q=/../", "/a/b/", "/a/b/", "/a/b/"},
		{"/.well-known/x", "/.well-known/x", "/.well-known/x", "/.well-known/x"},
		{"/a/..b/...", "/a/..b/...", "/a/..b/...", "/a/..b/..."},
		{"/%7Euser/%61%2d", "/~user/a-", "/~user/a-", "/~user/a-"},
		{"/%e4%c3%bc", "/%E4%C3%BC", "/%E4%C3%BC", "/%E4%C3%BC"},
		{"/\xc3\xbc|\"", "/%C3%BC%7C%22", "/%C3%BC%7C%22", "/%C3%BC%7C%22"},
		{"/a%252Fb%20", "/a%252Fb%20", "/a%252Fb%20", "/a%252Fb%20"},
		{"/a;v=1/b", "/a;v=1/b", "/a;v=1/b", "/a;v=1/b"},

		{"/a/./b", no, "/a/b", "/a/b"},
		{"/a/.", no, "/a/", "/a/"},
		{"/a/../b", no, "/b", "/b"},
		{"/a/b/..", no, "/a/", "/a/"},
		{"/a/%2e%2E/b", no, "/b", "/b"},
		{"/..", no, no, no},
		{"/a/../../b", no, no, no},
		{"/%2e%2e/%2e%2e/etc/passwd", no, no, no},
		{"/a/..;/b", no, no, no},
		{"/a/..;x=1/b", no, no, no},
		{"/a/.;/b", no, no, no},
		{"/a/%2e%2e%3b/b", "/a/..%3B/b", "/a/..%3B/b", "/a/..%3B/b"},

		{"//", no, "/", "//"},
		{"//a", no, "/a", "//a"},
		{"/a//b///c/", no, "/a/b/c/", "/a//b///c/"},
		{"/a//../b", no, "/a/b", no},

		{"/a%2fb", no, "/a/b", "/a%2Fb"},
		{"/a%5Cb", no, "/a/b", "/a%5Cb"},
		{"/a%2f..%2fb", no, "/b", "/a%2F..%2Fb"},
		{"/a%2f%2fb", no, "/a/b", "/a%2F%2Fb"},
		{"/..%2fb", no, no, "/..%2Fb"},

		{"/%", no, no, no}, {"/%4", no, no, no}, {"/%zz", no, no, no}, {"/%00", no, no, no},
		{"/a\\b", no, no, no}, {"/a b", no, no, no}, {"/a#b", no, no, no}, {"/a\x7f", no, no, no}, {"/a\tb", no, no, no},
		{"", no, no, no}, {"a/b", no, no, no}, {"*", no, no, no},
	} {
		for name, policy := range map[string]lb.PathPolicy{c.refuse + " by refuse": refuseAll, c.resolve + " by resolve": resolveAll, c.keep + " by keep": keepAll} {
			want, how, _ := strings.Cut(name, " by ")
			got := no
			x := request("GET", c.target)
			if r, status, _ := single(policy).choose(x, nil); r != nil {
				got = string(x.Request.Path)
			} else if status != 400 {
				t.Errorf("%q: status %d", c.target, status)
			}
			if got != want {
				t.Errorf("%q with %s is %q, want %q", c.target, how, got, want)
			}
		}
	}
}

func single(policy lb.PathPolicy) *Table {
	table, err := New([]Rule{{Name: "all", Paths: policy}})
	if err != nil {
		panic(err)
	}
	return table
}

func TestTargets(t *testing.T) {
	for _, c := range []struct{ method, target, path, wantPath, wantQuery string }{
		{"GET", "/a?", "", "/a", ""},
		{"GET", "/a?b=c?d&e=%zz", "", "/a", "b=c?d&e=%zz"},
		{"OPTIONS", "*", "*", "*", ""},
		{"CONNECT", "example.org:443", "", "", ""},
		{"GET", "http://example.org/a/%62?q", "/a/%62", "/a/b", ""},
	} {
		x := request(c.method, c.target)
		if c.path != "" {
			x.Request.Path = []byte(c.path)
		}
		r, _, why := single(refuseAll).choose(x, nil)
		if r == nil || string(x.Request.Path) != c.wantPath || string(x.Request.Query) != c.wantQuery {
			t.Errorf("%s %s: path %q, query %q, %s", c.method, c.target, x.Request.Path, x.Request.Query, why)
		}
	}
}

// FuzzPath holds that no spelling leads to a path that a reader takes for
// another one.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"/", "/a/../b", "/%2e%2e/a", "//a//..", "/a%2f..%2fb", "/a;/..;", "/%C3%BC\xc3\xbc", "/a/.%00", "/.%2F.%2f/"} {
		f.Add([]byte(seed))
	}
	tables := []*Table{single(refuseAll), single(resolveAll), single(keepAll)}
	f.Fuzz(func(t *testing.T, target []byte) {
		for i, table := range tables {
			x := request("GET", string(target))
			r, _, _ := table.choose(x, nil)
			if r == nil {
				continue
			}
			path := bytes.Clone(x.Request.Path)
			for segment := range bytes.SplitSeq(path, []byte("/")) {
				if s := string(segment); s == "." || s == ".." {
					t.Fatalf("table %d: %q became %q", i, target, path)
				}
			}
			if _, err := url.ParseRequestURI(string(path)); err != nil {
				t.Fatalf("table %d: %q became %q: %v", i, target, path, err)
			}
			again := request("GET", string(path))
			if r, _, why := tables[i].choose(again, nil); r == nil || !bytes.Equal(again.Request.Path, path) {
				t.Fatalf("table %d: %q became %q, and that %q (%s)", i, target, path, again.Request.Path, why)
			}
			if i == 1 && bytes.Contains(path, []byte("//")) {
				t.Fatalf("%q became %q", target, path)
			}
		}
	})
}
