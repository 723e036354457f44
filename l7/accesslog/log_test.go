package accesslog

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/l7/exchange"
	"weir/l7/value"
	"weir/loader/lb"
)

func sample() *exchange.Exchange {
	x := &exchange.Exchange{
		Client: &exchange.Client{Listener: "web", Remote: netip.MustParseAddrPort("10.0.0.1:4000")},
		Source: netip.MustParseAddr("198.51.100.7"), Route: "r", Pool: "app", Backend: netip.MustParseAddrPort("10.0.0.9:80"),
		Began: time.Now(), Sent: 12, Received: 3, Attempts: 2, Cache: "hit", Failure: "", ID: []byte("id"), Cut: errors.New("gone"),
	}
	q := &x.Request
	q.Protocol, q.Method, q.Authority, q.Target = exchange.HTTP11, []byte("GET"), []byte("www.example.org"), []byte(`/a"b`)
	q.Header.Add("User-Agent", []byte("odd \"\\\x01\xff ü"))
	x.Response.Status = 200
	return x
}

// eventually waits for a file to have so many lines.
func eventually(t *testing.T, name string, lines int) string {
	t.Helper()
	for late := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		b, err := os.ReadFile(name)
		if n := strings.Count(string(b), "\n"); err == nil && n >= lines {
			return string(b)
		}
		if time.Now().After(late) {
			t.Fatalf("%s: %q, %v", name, b, err)
		}
	}
}

func openSink(t *testing.T, queue int) (*Sink, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "access.log")
	s, err := Open(name, queue)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, name
}

func TestJSON(t *testing.T) {
	s, name := openSink(t, 16)
	New(Options{Format: lb.LogJSON}, s).Add(sample())
	var got map[string]any
	if err := json.Unmarshal([]byte(eventually(t, name, 1)), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"client": "198.51.100.7", "listener": "web", "method": "GET", "scheme": "http", "host": "www.example.org", "target": `/a"b`,
		"protocol": "HTTP/1.1", "status": 200.0, "sent": 12.0, "received": 3.0, "route": "r", "pool": "app", "backend": "10.0.0.9:80",
		"attempts": 2.0, "cache": "hit", "request_id": "id", "cut": "gone", "user_agent": "odd \"\\\x01\ufffd ü", "failure": nil, "referer": nil,
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}

func TestCombined(t *testing.T) {
	x := sample()
	x.Began = time.Date(2026, 11, 26, 13, 14, 15, 0, time.UTC)
	want := `198.51.100.7 - - [26/Nov/2026:13:14:15 +0000] "GET /a\x22b HTTP/1.1" 200 12 "-" "odd \x22\x5c\x01\xff \xc3\xbc"`
	if got := string(appendCombined(nil, x)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestTemplateAndSample(t *testing.T) {
	template, err := lb.ParseTemplate("{status} {pool}", nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := value.New(template, lb.PathMatch{})
	if err != nil {
		t.Fatal(err)
	}
	s, name := openSink(t, 64)
	l := New(Options{Format: lb.LogTemplate, Template: text, Sample: 10}, s)
	x := sample()
	for range 20 {
		l.Add(x)
	}
	x.Response.Status = 503
	l.Add(x)
	s.Close()
	if got := eventually(t, name, 1); got != "200 app\n200 app\n503 app\n" {
		t.Errorf("%q", got)
	}
}

func TestReopen(t *testing.T) {
	for how, again := range map[string]func(*Sink){"by call": (*Sink).Reopen, "by itself": func(*Sink) {}} {
		t.Run(how, func(t *testing.T) {
			s, name := openSink(t, 64)
			l := New(Options{Format: lb.LogCombined}, s)
			l.Add(sample())
			eventually(t, name, 1)
			if err := os.Rename(name, name+".1"); err != nil {
				t.Fatal(err)
			}
			again(s)
			for late := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				if _, err := os.Stat(name); err == nil {
					break
				}
				if time.Now().After(late) {
					t.Fatal("the file was not opened anew")
				}
			}
			l.Add(sample())
			eventually(t, name, 1)
			if old := eventually(t, name+".1", 1); strings.Count(old, "\n") != 1 {
				t.Errorf("the old file has %q", old)
			}
		})
	}
}

// A reader that stands still costs lines, not time.
func TestFullQueue(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	s := &Sink{name: name, lines: make(chan *line, 4)}
	s.free.New = func() any { return &line{} }
	l := New(Options{}, s)
	for range 10 {
		l.Add(sample())
	}
	if s.Dropped() != 6 || len(s.lines) != 4 {
		t.Errorf("%d dropped, %d wait", s.Dropped(), len(s.lines))
	}
}

func TestFailedWrites(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	s, err := Open("/dev/full", 16)
	if err != nil {
		t.Fatal(err)
	}
	New(Options{}, s).Add(sample())
	s.Close()
	if s.Failed() != 1 {
		t.Errorf("%d failed", s.Failed())
	}
	if _, err := Open("/nowhere/access.log", 16); err == nil || !strings.Contains(err.Error(), "/nowhere/access.log") {
		t.Errorf("%v", err)
	}
}

func TestCloseWritesAll(t *testing.T) {
	s, name := openSink(t, 1024)
	l := New(Options{Format: lb.LogCombined}, s)
	for range 1000 {
		l.Add(sample())
	}
	s.Close()
	if got := strings.Count(eventually(t, name, 1), "\n"); got != 1000 {
		t.Errorf("%d lines", got)
	}
	l.Add(sample()) // harmless
}

func BenchmarkAdd(b *testing.B) {
	for _, format := range []lb.LogFormat{lb.LogJSON, lb.LogCombined} {
		b.Run(string(format), func(b *testing.B) {
			s, err := Open(os.DevNull, 8192)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			l, x := New(Options{Format: format}, s), sample()
			b.ReportAllocs()
			for b.Loop() {
				l.Add(x)
			}
			b.ReportMetric(float64(s.Dropped())/float64(b.N), "dropped/op")
		})
	}
}
