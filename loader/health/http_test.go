package health

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
)

func httpHealth(t *testing.T, change func(*lb.Health)) lb.Health {
	t.Helper()
	h := lb.Health{Type: lb.HealthHTTP, Method: "GET", Path: "/healthz", Verify: lb.VerifyFull, Timeout: 5 * time.Second}
	h.Status, _ = lb.ParseStatusSet("200-299")
	if change != nil {
		change(&h)
	}
	return h
}

// raw answers a request, once its head was read, with bytes as they are.
func raw(answer func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		var head []byte
		b := make([]byte, 1024)
		for !bytes.Contains(head, []byte("\r\n\r\n")) {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			head = append(head, b[:n]...)
		}
		answer(c)
	}
}

func text(s string) func(net.Conn) { return raw(func(c net.Conn) { io.WriteString(c, s) }) }

// endless repeats s until the other side has enough, pausing in between.
func endless(s string, pause time.Duration) func(net.Conn) {
	return raw(func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		for {
			if _, err := io.WriteString(c, s); err != nil {
				return
			}
			time.Sleep(pause)
		}
	})
}

func TestHTTP(t *testing.T) {
	body := func(s string) func(*lb.Health) { return func(h *lb.Health) { h.Body = s } }
	expr := func(s string) func(*lb.Health) { return func(h *lb.Health) { h.BodyRegexp = s } }
	for _, c := range []struct {
		name   string
		change func(*lb.Health)
		answer func(net.Conn)
		want   Reason
		text   string
	}{
		{"ok", nil, text("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), "", ""},
		{"HTTP/1.0", nil, text("HTTP/1.0 204 No Content\r\n\r\n"), "", ""},
		{"body", body("ready"), text("HTTP/1.1 200 OK\r\n\r\nwe are ready now"), "", ""},
		{"chunked body", body("ready"), text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n"), "", ""},
		{"expression", expr(`"state":\s*"(ok|warn)"`), text("HTTP/1.1 200 OK\r\n\r\n{\"state\": \"warn\"}"), "", ""},
		{"after 1xx", nil, text("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), "", ""},
		{"head", func(h *lb.Health) { h.Method = "HEAD" }, text("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), "", ""},
		{"asked-for 404", func(h *lb.Health) { h.Status, _ = lb.ParseStatusSet("404") }, text("HTTP/1.1 404 Not Found\r\n\r\n"), "", ""},
		{"found before the end", body("ready"), raw(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nready")
			io.Copy(io.Discard, c)
		}), "", ""},

		{"status", nil, text("HTTP/1.1 503 Busy\r\n\r\n"), ReasonStatus, "status: 503 is not 200-299"},
		{"a redirect is not followed", nil, text("HTTP/1.1 302 Found\r\nLocation: /healthz\r\n\r\n"), ReasonStatus, "302"},
		{"other body", body("ready"), text("HTTP/1.1 200 OK\r\n\r\nstarting"), ReasonContent, `"ready" is not in "starting"`},
		{"other body by expression", expr("^ok$"), text("HTTP/1.1 200 OK\r\n\r\nok "), ReasonContent, "/^ok$/ does not match"},
		{"nothing", nil, text(""), ReasonReset, "read the answer"},
		{"half a head", nil, text("HTTP/1.1 200 OK\r\nX-A: b"), ReasonReset, ""},
		{"half a body", body("ready"), text("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nrea"), ReasonReset, "read the body"},
		{"garbage", nil, text("\x00\x01\x02\x03\x04 garbage \xff\r\n\r\n"), ReasonMalformed, "read the answer"},
		{"other protocol", nil, text("220 smtp.example ESMTP\r\n"), ReasonMalformed, ""},
		{"bad chunks", body("ready"), text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), ReasonMalformed, ""},
		{"contradicting lengths", nil, text("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), ReasonMalformed, ""},
		{"1xx for ever", nil, text(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 10)), ReasonMalformed, "more than 5 answers"},
		{"headers for ever", nil, endless("X-A: b\r\n", 0), ReasonMalformed, "longer than 32768 bytes"},
		{"a header for ever", nil, endless("aaaaaaaa", 0), ReasonMalformed, "longer than 32768 bytes"},
		{"a body for ever", body("ready"), endless("\r\nnot yet", 0), ReasonContent, "is not in"},
		{"chunks for ever", body("ready"), raw(func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for {
				if _, err := io.WriteString(c, "1\r\nx\r\n"); err != nil {
					return
				}
			}
		}), ReasonReset, "read the body"},
		{"slow headers", nil, endless("X-A: b\r\n", 10*time.Millisecond), ReasonTimeout, "read the answer: no answer in time"},
		{"slow body", body("ready"), endless("\r\nx", 10*time.Millisecond), ReasonTimeout, "read the body: no answer in time"},
		{"silence", nil, raw(func(c net.Conn) { io.Copy(io.Discard, c) }), ReasonTimeout, "no answer in time"},
		{"reset", nil, raw(func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }), ReasonReset, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			h := httpHealth(t, c.change)
			if c.want == ReasonTimeout {
				h.Timeout = probeTimeout
			}
			_, err := probe(t, h, serve(t, c.answer))
			wantResult(t, err, c.want, c.text)
		})
	}
}

func TestHTTPRequest(t *testing.T) {
	to := nobody(t)
	for _, c := range []struct {
		h    lb.Health
		want string
	}{
		{httpHealth(t, nil), "GET /healthz HTTP/1.1\r\nHost: " + to.String() + "\r\n"},
		{httpHealth(t, func(h *lb.Health) { h.Host, h.Method, h.Path = "example.org", "HEAD", "/a?b=c" }),
			"HEAD /a?b=c HTTP/1.1\r\nHost: example.org\r\n"},
	} {
		got := string(request(Target{Address: to, Health: c.h}))
		if !strings.HasPrefix(got, c.want) || !strings.HasSuffix(got, "\r\nConnection: close\r\n\r\n") {
			t.Errorf("request %q, want %q", got, c.want)
		}
	}
}

// serveHTTPS runs a server of the standard library, HTTP/2 included.
func serveHTTPS(t *testing.T, config *tls.Config, handler http.HandlerFunc) (to string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler, TLSConfig: config, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	s.ErrorLog = quiet
	ended := make(chan error, 1)
	go func() {
		if config == nil {
			ended <- s.Serve(l)
		} else {
			ended <- s.ServeTLS(l, "", "")
		}
	}()
	t.Cleanup(func() { s.Close(); <-ended })
	return l.Addr().String()
}

func TestHTTPOverTLSAndHTTP2(t *testing.T) {
	ca := newAuthority(t)
	good := ca.server(t, "127.0.0.1", time.Now().Add(30*24*time.Hour))
	for _, c := range []struct {
		kind    lb.HealthType
		config  *tls.Config
		version int
	}{
		{lb.HealthHTTPS, good, 1}, {lb.HealthH2, good, 2}, {lb.HealthH2C, nil, 2},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			leavesNothing(t)
			to := serveHTTPS(t, c.config, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/busy" {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				fmt.Fprintf(w, "HTTP/%d for %s", r.ProtoMajor, r.Host)
			})
			h := httpHealth(t, func(h *lb.Health) {
				h.Type, h.CA, h.Host, h.Body = c.kind, ca.PEM, "example.org", fmt.Sprintf("HTTP/%d for example.org", c.version)
			})
			report, err := probe(t, h, addrPort(t, to))
			wantResult(t, err, "", "")
			if c.config != nil && time.Until(report.CertificateEnds) < 29*24*time.Hour {
				t.Errorf("certificate ends %s", report.CertificateEnds)
			}
			h.Path = "/busy"
			_, err = probe(t, h, addrPort(t, to))
			wantResult(t, err, ReasonStatus, "503 is not 200-299")
			h.Path, h.Body = "/", "something else"
			_, err = probe(t, h, addrPort(t, to))
			wantResult(t, err, ReasonContent, "is not in")
		})
	}
}

func TestHostileHTTP2(t *testing.T) {
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for _, c := range []struct {
		name, first string
		repeat      string
		pause       time.Duration
		want        Reason
	}{
		{"garbage", "\xff\xff\xff\xff garbage garbage garbage", "", 0, ReasonMalformed},
		{"HTTP/1.1", "HTTP/1.1 400 Bad Request\r\n\r\n", "", 0, ReasonMalformed},
		{"end", "", "", 0, ReasonReset},
		{"headers for ever", settings + "\x00\x00\x04\x01\x00\x00\x00\x00\x01\x88\x40\x01a", "\x00\x00\x01\x09\x00\x00\x00\x00\x01x", 0, ReasonMalformed},
		{"settings for ever", settings, settings, time.Millisecond, ReasonTimeout},
		{"silence after settings", settings, "", time.Second, ReasonTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			leavesNothing(t)
			to := serve(t, raw(func(conn net.Conn) {
				if _, err := io.WriteString(conn, c.first); err != nil || c.repeat == "" {
					if c.pause > 0 {
						io.Copy(io.Discard, conn)
					}
					return
				}
				go io.Copy(io.Discard, conn)
				for {
					if _, err := io.WriteString(conn, c.repeat); err != nil {
						return
					}
					time.Sleep(c.pause)
				}
			}))
			h := httpHealth(t, func(h *lb.Health) { h.Type = lb.HealthH2C })
			if c.want == ReasonTimeout {
				h.Timeout = probeTimeout
			}
			_, err := probe(t, h, to)
			if err == nil {
				t.Fatal("succeeded")
			}
			if got := reasonFor(err); got != c.want && (c.want != ReasonMalformed || got != ReasonReset) {
				t.Errorf("%s: %v, want %s", got, err, c.want)
			}
		})
	}
}
