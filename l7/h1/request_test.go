package h1

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"weir/l7/exchange"
)

// describe is what a request was read as, on one line.
func describe(r *exchange.Request) string {
	s := fmt.Sprintf("%s %s %q %q?%q %d", r.Protocol, r.Method, r.Authority, r.Path, r.Query, r.Length)
	for _, f := range r.Header.Fields() {
		s += fmt.Sprintf(" %s=%q", f.Text, f.Value)
	}
	return s
}

func TestParseRequest(t *testing.T) {
	const post = "POST / HTTP/1.1\r\nHost: a\r\n"
	for _, c := range []struct {
		name, in string
		want     string // as describe says, or the status of the error and a part of its text
	}{
		{"least", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", `HTTP/1.1 GET "a" "/"?"" 0`},
		{"1.0", "GET / HTTP/1.0\r\n\r\n", `HTTP/1.0 GET "" "/"?"" 0`},
		{"query", "GET /b?c=d?e HTTP/1.1\r\nHost: A.Example:80\r\n\r\n", `HTTP/1.1 GET "a.example:80" "/b"?"c=d?e" 0`},
		{"fields", "GET / HTTP/1.1\r\nHost: a\r\nX-A:  b \t\r\nAccept:\r\n\r\n", `HTTP/1.1 GET "a" "/"?"" 0 X-A="b" Accept=""`},
		{"an empty line before", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", `HTTP/1.1 GET "a" "/"?"" 0`},
		{"absolute", "GET http://B.c/d?e HTTP/1.1\r\nHost: a\r\n\r\n", `HTTP/1.1 GET "b.c" "/d"?"e" 0`},
		{"absolute without a path", "GET http://b?e HTTP/1.1\r\nHost: a\r\n\r\n", `HTTP/1.1 GET "b" "/"?"e" 0`},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", `HTTP/1.1 OPTIONS "a" "*"?"" 0`},
		{"connect", "CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", `HTTP/1.1 CONNECT "b:443" ""?"" 0`},
		{"length", post + "Content-Length: 12\r\n\r\n", `HTTP/1.1 POST "a" "/"?"" 12`},
		{"chunked", post + "Transfer-Encoding: Chunked\r\n\r\n", `HTTP/1.1 POST "a" "/"?"" -1`},
		{"connection's own", post + "Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip\r\nConnection: X-A, close\r\nX-A: 1\r\nX-B: 2\r\n\r\n",
			`HTTP/1.1 POST "a" "/"?"" 0 X-B="2"`},
		{"not the connection's", post + "Connection: x-forwarded-for, X-Forwarded-Proto, X-Real-IP, Authorization, Cookie, Host, Content-Length\r\n" +
			"X-Forwarded-For: 1\r\nX-Forwarded-Proto: 2\r\nX-Real-IP: 3\r\nAuthorization: 4\r\nCookie: 5\r\nContent-Length: 6\r\n\r\n",
			`HTTP/1.1 POST "a" "/"?"" 6 X-Forwarded-For="1" X-Forwarded-Proto="2" X-Real-IP="3" Authorization="4" Cookie="5"`},
		{"trailers", post + "TE: trailers\r\n\r\n", `HTTP/1.1 POST "a" "/"?"" 0 TE="trailers"`},
		{"upgrade", post + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", `HTTP/1.1 POST "a" "/"?"" 0 Upgrade="websocket"`},
		{"upgrade unnamed", post + "Upgrade: websocket\r\n\r\n", `HTTP/1.1 POST "a" "/"?"" 0`},
		{"upgrade to h2c", post + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket, h2c\r\nHTTP2-Settings: x\r\n\r\n", `HTTP/1.1 POST "a" "/"?"" 0`},

		{"both framings", post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400 both"},
		{"two lengths", post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "400 two Content-Length"},
		{"list of lengths", post + "Content-Length: 1, 1\r\n\r\n", "400 Content-Length"},
		{"signed length", post + "Content-Length: +1\r\n\r\n", "400 Content-Length"},
		{"empty length", post + "Content-Length: \r\n\r\n", "400 Content-Length"},
		{"hexadecimal length", post + "Content-Length: 0x1\r\n\r\n", "400 Content-Length"},
		{"huge length", post + "Content-Length: 9999999999999999\r\n\r\n", "400 Content-Length"},
		{"other coding", post + "Transfer-Encoding: gzip, chunked\r\n\r\n", "400 Transfer-Encoding"},
		{"coding with a tail", post + "Transfer-Encoding: chunked;a\r\n\r\n", "400 Transfer-Encoding"},
		{"two codings", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "400 Transfer-Encoding"},
		{"coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400 HTTP/1.0"},
		{"bare CR", post + "X-A: b\rc\r\n\r\n", "400 control"},
		{"bare LF", post + "X-A: b\nX-B: c\r\n\r\n", "400 line feed"},
		{"NUL", post + "X-A: b\x00\r\n\r\n", "400 control"},
		{"DEL", post + "X-A: b\x7fcdefghijkl\r\n\r\n", "400 control"},
		{"space before the colon", post + "X-A : b\r\n\r\n", "400 token"},
		{"folded", post + "X-A: b\r\n c\r\n\r\n", "400 folded"},
		{"folded first", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 folded"},
		{"no colon", post + "X-A\r\n\r\n", "400 colon"},
		{"no name", post + ": b\r\n\r\n", "400 name"},
		{"name with a byte over 127", post + "X-\xe4: b\r\n\r\n", "400 token"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "400 0 Host"},
		{"two hosts", post + "Host: a\r\n\r\n", "400 2 Host"},
		{"host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 host"},
		{"host with a user", "GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 host"},
		{"other scheme", "GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 target"},
		{"no scheme", "GET b HTTP/1.1\r\nHost: a\r\n\r\n", "400 target"},
		{"asterisk of GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400 target *"},
		{"fragment", "GET /#b HTTP/1.1\r\nHost: a\r\n\r\n", "400 target"},
		{"byte over 127 in the target", "GET /\xe4 HTTP/1.1\r\nHost: a\r\n\r\n", "400 target"},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 target"},
		{"space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400 version"},
		{"tab", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 method"},
		{"no version", "GET /\r\nHost: a\r\n\r\n", "400 version"},
		{"odd version", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", "400 version"},
		{"small letters", "GET / http/1.1\r\nHost: a\r\n\r\n", "400 version"},
		{"version 2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 version"},
		{"method no token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 method"},
		{"two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 method"},
		{"many fields", post + strings.Repeat("X-A: b\r\n", 100) + "\r\n", "400 many fields"},
		{"expectation", post + "Expect: 200-ok\r\n\r\n", "417 Expect"},
		{"five Connection fields", post + strings.Repeat("Connection: x\r\n", 5) + "\r\n", "400 Connection"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r exchange.Request
			var m message
			n, err := parseRequest([]byte(c.in), &r, &m, 100)
			var broken *Error
			got := describe(&r)
			switch {
			case errors.As(err, &broken):
				status, part, _ := strings.Cut(c.want, " ")
				if fmt.Sprint(broken.Status) != status || !strings.Contains(broken.What, part) {
					t.Errorf("refused with %d %v, want %s", broken.Status, err, c.want)
				}
			case err != nil || got != c.want || n != len(c.in):
				t.Errorf("got  %s (%d of %d bytes, %v)\nwant %s", got, n, len(c.in), err, c.want)
			}
		})
	}
}

// TestParseRequestInPieces: a head that has not come whole is neither taken nor
// refused.
func TestParseRequestInPieces(t *testing.T) {
	const head = "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: x\r\nX: y\r\n\r\n"
	for n := range len(head) {
		var r exchange.Request
		var m message
		if _, err := parseRequest([]byte(head[:n]), &r, &m, 100); err != errIncomplete {
			t.Fatalf("%q: %v", head[:n], err)
		}
		if done, _, err := scanHead([]byte(head[:n]), 0); done || err != nil {
			t.Fatalf("%q: an end was found, %v", head[:n], err)
		}
	}
	for from := range len(head) {
		_, at, _ := scanHead([]byte(head[:from]), 0)
		if done, _, err := scanHead([]byte(head), at); !done || err != nil {
			t.Fatalf("after %q: no end was found, %v", head[:from], err)
		}
	}
}
