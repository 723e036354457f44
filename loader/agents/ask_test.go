package agents

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"weir/agent/report"
	"weir/loader/lb"
)

func TestAsk(t *testing.T) {
	ca := newAuthority(t)
	want := goodReport(7)
	port := ca.serveTLS(forLoopback(), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != report.Path || r.Method != http.MethodGet || r.TLS.PeerCertificates[0].DNSNames[0] != "balancer" {
			t.Errorf("asked %s %s", r.Method, r.URL)
		}
		_, _ = w.Write(encode(t, want))
	})
	got, err := askOnce(t, ca.agent(port))
	if err != nil || got.Seq != 7 || got.Values["cpu"] != 0.5 || got.Rate != 100 {
		t.Errorf("heard %+v, %v", got, err)
	}
}

func TestAskByName(t *testing.T) {
	ca := newAuthority(t)
	a := ca.agent(ca.serveTLS(&x509.Certificate{DNSNames: []string{"www1.example.org"}}, func(w http.ResponseWriter, _ *http.Request) {
		r := goodReport(1)
		r.Backend = "www1.example.org"
		_, _ = w.Write(encode(t, r))
	}))
	a.Name = "www1.example.org"
	if r, err := askOnce(t, a); err != nil || r.Backend != a.Name {
		t.Errorf("heard %+v, %v", r, err)
	}
	a.Name = "www2.example.org"
	if _, err := askOnce(t, a); reasonOf(err) != ReasonTLS {
		t.Errorf("as another: %v", err)
	}
}

// One connection serves one question after the other.
func TestConnectionIsKept(t *testing.T) {
	ca := newAuthority(t)
	clients := make(chan string, 5)
	a := ca.agent(ca.serveTLS(forLoopback(), func(w http.ResponseWriter, r *http.Request) {
		clients <- r.RemoteAddr
		_, _ = w.Write(encode(t, goodReport(1)))
	}))
	asker, err := open(loopback(a), newPace())
	if err != nil {
		t.Fatal(err)
	}
	defer asker.close()
	first := ""
	for range 5 {
		if _, err := asker.ask(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c := <-clients; first != "" && c != first {
			t.Errorf("asked by %s and %s", first, c)
		} else {
			first = c
		}
	}
}

// An agent that ends its connection between two questions, without a word of it,
// is asked on another one.
func TestEndedConnectionIsReplaced(t *testing.T) {
	ca := newAuthority(t)
	a := ca.agent(ca.serveTLS(forLoopback(), func(w http.ResponseWriter, _ *http.Request) {
		body := encode(t, goodReport(1))
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}))
	asker, err := open(loopback(a), newPace())
	if err != nil {
		t.Fatal(err)
	}
	defer asker.close()
	for i := range 5 {
		if _, err := asker.ask(t.Context()); err != nil {
			t.Errorf("question %d: %v", i, err)
		}
		if asker.(*https).kept == nil {
			t.Errorf("question %d: nothing is kept", i)
		}
	}
}

// After a connection was lost, the next goes on with its session, and is held to
// the same identity.
func TestSessionIsResumed(t *testing.T) {
	ca := newAuthority(t)
	resumed := make(chan bool, 3)
	a := ca.agent(ca.serveTLS(forLoopback(), func(w http.ResponseWriter, r *http.Request) {
		resumed <- r.TLS.DidResume
		w.Header().Set("Connection", "close")
		_, _ = w.Write(encode(t, goodReport(1)))
	}))
	asker, err := open(loopback(a), newPace())
	if err != nil {
		t.Fatal(err)
	}
	defer asker.close()
	for i := range 3 {
		if _, err := asker.ask(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := <-resumed; got != (i > 0) {
			t.Errorf("answer %d: resumed is %v", i, got)
		}
	}
	asker.(*https).identity = "127.0.0.2"
	if _, err := asker.ask(t.Context()); reasonOf(err) != ReasonIdentity {
		t.Errorf("a resumed session of another: %v", err)
	}
}

func body(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

func reported(rest string) string {
	return `{"version":1,"backend":"127.0.0.1","boot":"a","seq":1,"age_ms":0,"tau_ms":0,` + rest + `}`
}

// drip sends a byte of a body now and then, without end.
func drip(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		_, _ = w.Write([]byte(" "))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestBadAnswers(t *testing.T) {
	ca := newAuthority(t)
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		want    Reason
	}{
		{"NaN", body(reported(`"values":{"cpu":NaN}`)), report.Malformed},
		{"infinite", body(reported(`"values":{"cpu":1e999}`)), report.TooLarge},
		{"1e308", body(reported(`"values":{"iops":1e308}`)), report.TooLarge},
		{"negative", body(reported(`"values":{"cpu":-0.5}`)), report.Negative},
		{"unknown field", body(reported(`"values":{},"extra":1`)), report.UnknownField},
		{"twice", body(reported(`"seq":2,"values":{}`)), report.Duplicate},
		{"another version", body(strings.Replace(reported(`"values":{}`), `"version":1`, `"version":2`, 1)), report.OtherVersion},
		{"a megabyte", body(reported(`"values":{` + strings.Repeat(" ", 1<<20) + `}`)), report.TooLong},
		{"empty", body(""), report.Malformed},
		{"another backend's report", body(strings.Replace(reported(`"values":{}`), "127.0.0.1", "127.0.0.2", 1)), ReasonIdentity},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1/", http.StatusFound)
		}, ReasonStatus},
		{"error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, ReasonStatus},
		{"drip", drip, ReasonTimeout},
		{"hung", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ReasonTimeout},
		{"broken off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ReasonReset},
		{"interim answers without end", func(w http.ResponseWriter, _ *http.Request) {
			for range 2 * maxInterim {
				w.WriteHeader(http.StatusEarlyHints)
			}
		}, report.Malformed},
		{"large header", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			w.WriteHeader(http.StatusOK)
		}, report.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ca.agent(ca.serveTLS(forLoopback(), c.handler))
			if c.want == ReasonTimeout {
				a.Timeout = askTimeout
			}
			if _, err := askOnce(t, a); err == nil || reasonOf(err) != c.want {
				t.Errorf("%v (%s), want %s", err, reasonOf(err), c.want)
			}
		})
	}
}

func TestBadPeers(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	good := body(reported(`"values":{}`))
	tomorrow := forLoopback()
	tomorrow.NotBefore, tomorrow.NotAfter = time.Now().Add(24*time.Hour), time.Now().Add(48*time.Hour)
	yesterday := forLoopback()
	yesterday.NotBefore, yesterday.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	closed := serveTCP(t, func(net.Conn) {})
	for _, c := range []struct {
		name string
		port uint16
		want Reason
	}{
		{"certificate of another host", ca.serveTLS(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 2)}}, good), ReasonTLS},
		{"certificate of another authority", other.serveTLS(forLoopback(), good), ReasonTLS},
		{"not valid before tomorrow", ca.serveTLS(tomorrow, good), ReasonTLS},
		{"expired", ca.serveTLS(yesterday, good), ReasonTLS},
		{"no TLS", serveTCP(t, func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")) }), ReasonTLS},
		{"closes", closed, ReasonReset},
		{"hangs", serveTCP(t, func(net.Conn) { <-t.Context().Done() }), ReasonTimeout},
		{"nobody", 1, ReasonRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ca.agent(c.port)
			if c.want == ReasonTimeout {
				a.Timeout = askTimeout
			}
			if _, err := askOnce(t, a); err == nil || reasonOf(err) != c.want {
				t.Errorf("%v (%s), want %s", err, reasonOf(err), c.want)
			}
		})
	}
}

// A certificate for all of a domain speaks for none of its hosts.
func TestWildcardSpeaksForNobody(t *testing.T) {
	ca := newAuthority(t)
	a := ca.agent(ca.serveTLS(&x509.Certificate{DNSNames: []string{"*.example.org"}}, body("")))
	a.Name = "www1.example.org"
	if _, err := askOnce(t, a); reasonOf(err) != ReasonIdentity {
		t.Errorf("%v (%s)", err, reasonOf(err))
	}
}

func TestLine(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       string
		fails      Reason
	}{
		{"up", "up\n", "up", ""},
		{"weight", "up 75%\r\n", "up 75%", ""},
		{"no end", "drain", "drain", ""},
		{"only the first line", "ready\nmaint\n", "ready", ""},
		{"nothing", "", "", ReasonReset},
		{"empty line", "\n", "", report.Missing},
		{"unknown word", "banana\n", "", report.UnknownField},
		{"negative", "-5%\n", "", report.Malformed},
		{"without end", strings.Repeat("up ", 1000), "", report.TooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			port := serveTCP(t, func(conn net.Conn) { _, _ = conn.Write([]byte(c.text)) })
			r, err := askOnce(t, lb.Agent{Protocol: lb.AgentHAProxy, Port: port, Timeout: 5 * time.Second})
			if c.fails != "" {
				if err == nil || reasonOf(err) != c.fails {
					t.Errorf("%v (%s), want %s", err, reasonOf(err), c.fails)
				}
				return
			}
			text, formatErr := report.FormatCheck(r.Status)
			if err != nil || formatErr != nil || strings.TrimSpace(text) != c.want {
				t.Errorf("heard %q, %v", text, err)
			}
		})
	}
	hangs := serveTCP(t, func(net.Conn) { <-t.Context().Done() })
	drips := serveTCP(t, func(c net.Conn) {
		for {
			if _, err := c.Write([]byte(" ")); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	for name, port := range map[string]uint16{"hangs": hangs, "drips": drips} {
		if _, err := askOnce(t, lb.Agent{Protocol: lb.AgentHAProxy, Port: port, Timeout: askTimeout}); reasonOf(err) != ReasonTimeout {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a line does not say holds as before.
func TestLinesHold(t *testing.T) {
	next := make(chan string, 8)
	port := serveTCP(t, func(c net.Conn) { fmt.Fprintln(c, <-next) })
	asker := newLine(loopback(lb.Agent{Port: port}).address)
	for _, c := range []struct{ says, holds, out string }{
		{"up 50%", "up 50%", ""},
		{"drain", "up drain 50%", "drain"},
		{"up", "up drain 50%", "drain"},
		{"ready", "up ready 50%", ""},
		{"down", "down ready 50%", "down"},
		{"maint", "down maint 50%", "maint"},
		{"up ready 0%", "up ready 0%", "0%"},
		{"100%", "up ready 100%", ""},
	} {
		next <- c.says
		r, err := asker.ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text, err := report.FormatCheck(r.Status)
		if law := toLaw(r, 0); err != nil || strings.TrimSpace(text) != c.holds || law.Out != c.out {
			t.Errorf("%s: holds %q, out %q, %v; want %q, %q", c.says, text, law.Out, err, c.holds, c.out)
		}
	}
}

func TestToLaw(t *testing.T) {
	r := goodReport(9)
	r.Status = report.Status{Oper: report.Stopped, Weight: new(30), MaxConn: new(500)}
	got := toLaw(r, time.Second)
	if got.Seq != 9 || got.Boot != "a1" || got.Age != 1010*time.Millisecond || got.Tau != 2*time.Second || got.Rate != 100 ||
		got.Values["cpu"] != 0.5 || got.Out != "stopped" || got.Percent != 30 || got.MaxConn != 500 {
		t.Errorf("%+v", got)
	}
}

// Answers as large as peers like do not stay in memory.
func TestMemoryIsFlat(t *testing.T) {
	ca := newAuthority(t)
	a := ca.agent(ca.serveTLS(forLoopback(), body(reported(`"values":{`+strings.Repeat(" ", 1<<20)+`}`))))
	asker, err := open(loopback(a), newPace())
	if err != nil {
		t.Fatal(err)
	}
	defer asker.close()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var before uint64
	for i := range 60 {
		if _, err := asker.ask(t.Context()); reasonOf(err) != report.TooLong {
			t.Fatal(err)
		}
		if i == 10 {
			before = heap()
		}
	}
	if after := heap(); after > before+4<<20 {
		t.Errorf("%d bytes of heap, %d after more answers", before, after)
	}
}
