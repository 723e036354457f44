package value

import (
	"crypto/tls"
	"net/netip"
	"testing"
	"time"

	"weir/l7/exchange"
	"weir/loader/lb"
)

func sample() *exchange.Exchange {
	x := &exchange.Exchange{
		Client: &exchange.Client{
			Listener: "web", Remote: netip.MustParseAddrPort("10.0.0.1:4000"), Local: netip.MustParseAddrPort("[::ffff:192.0.2.1]:443"),
			TLS: &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256, ServerName: "www.example.org"},
		},
		Source: netip.MustParseAddr("198.51.100.7"), Began: time.Now(), Route: "r", ID: []byte("id"),
	}
	q := &x.Request
	q.Protocol, q.Method, q.Authority = exchange.HTTP2, []byte("GET"), []byte("www.example.org:8443")
	q.Target, q.Path, q.Query = []byte("/a/%62/c/d?q=1+2%0d%0aX:%201"), []byte("/a/b/c/d"), []byte("q=1+2%0d%0aX:%201")
	q.Header.Add("X-Tenant", []byte("blue/.."))
	q.Header.Add("Cookie", []byte("a=1; session=s/1"))
	q.Header.Add("Traceparent", []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
	x.Response.Status, x.Pool, x.Backend = 200, "app", netip.MustParseAddrPort("10.0.0.9:80")
	return x
}

func compile(t *testing.T, text string, m lb.PathMatch, uri bool) Text {
	t.Helper()
	captures := []string{"x", "rest"}
	template, err := lb.ParseTemplate(text, captures)
	if err != nil {
		t.Fatal(err)
	}
	build := New
	if uri {
		build = NewURI
	}
	out, err := build(template, m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestValues(t *testing.T) {
	pattern := lb.PathMatch{Kind: lb.PatternPath, Text: "/a/{x}/{rest...}"}
	expression := lb.PathMatch{Kind: lb.RegexpPath, Text: "/a/(?P<x>.)/(?P<rest>.*)"}
	for _, c := range []struct {
		text string
		m    lb.PathMatch
		uri  bool
		want string
	}{
		{"", lb.PathMatch{}, false, ""},
		{"text {{}}", lb.PathMatch{}, false, "text {}"},
		{"{client_ip} {client_port} {connection_ip}", lb.PathMatch{}, false, "198.51.100.7 4000 10.0.0.1"},
		{"{listener} {local_ip}:{local_port}", lb.PathMatch{}, false, "web 192.0.2.1:443"},
		{"{scheme}://{host}{uri}", lb.PathMatch{}, false, "https://www.example.org:8443/a/b/c/d?q=1+2%0d%0aX:%201"},
		{"{method} {hostname} {port} {protocol}", lb.PathMatch{}, false, "GET www.example.org 8443 HTTP/2.0"},
		{"{target} {path} {query}", lb.PathMatch{}, false, "/a/%62/c/d?q=1+2%0d%0aX:%201 /a/b/c/d q=1+2%0d%0aX:%201"},
		{"{tls_version} {tls_cipher} {tls_sni}{client_subject}", lb.PathMatch{}, false, "TLS 1.3 TLS_AES_128_GCM_SHA256 www.example.org"},
		{"{request_id} {trace_id} {route}", lb.PathMatch{}, false, "id 0af7651916cd43dd8448eb211c80319c r"},
		{"{header:x-tenant} {cookie:session}", lb.PathMatch{}, false, "blue/.. s/1"},
		{"{query:q}", lb.PathMatch{}, false, "1 2??X: 1"},
		{"{query:q}", lb.PathMatch{}, true, "1%202%0D%0AX%3A%201"},
		{"/t/{header:X-Tenant}{path}", lb.PathMatch{}, true, "/t/blue%2F../a/b/c/d"},
		{"{header:None}{query:none}{cookie:none}", lb.PathMatch{}, false, ""},
		{"{status} {pool} {backend} {attempts}", lb.PathMatch{}, false, "200 app 10.0.0.9:80 0"},
		{"{x}-{rest}", pattern, false, "b-c/d"},
		{"{x}-{rest}", expression, true, "b-c/d"},
	} {
		x := sample()
		if got := string(compile(t, c.text, c.m, c.uri).Of(x)); got != c.want {
			t.Errorf("%s is %q, want %q", c.text, got, c.want)
		}
	}
	if _, err := New(lb.Template{{Var: "none"}}, lb.PathMatch{}); err == nil {
		t.Error("a variable that is none was compiled")
	}
}

// Every name that configurations may use is known here.
func TestEveryVariable(t *testing.T) {
	x := sample()
	for name := range names(lb.TemplateVars()) {
		template, err := lb.ParseTemplate("{"+name+"}", nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := New(template, lb.PathMatch{})
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		text.Of(x)
	}
}

func names(list string) func(func(string) bool) {
	return func(yield func(string) bool) {
		word := ""
		for _, c := range list + "," {
			if c == ',' || c == ' ' {
				if word != "" && !yield(word) {
					return
				}
				word = ""
				continue
			}
			word += string(c)
		}
	}
}
