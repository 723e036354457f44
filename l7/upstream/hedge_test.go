package upstream_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/l7/exchange"
	"weir/l7/upstream"
	"weir/loader/lb"
)

// TestHedge: of the first two requests one goes to the backend that does not
// answer, and is answered by the other.
func TestHedge(t *testing.T) {
	for _, c := range []struct {
		method string
		budget lb.Retries
		second bool // another backend is asked
	}{
		{"GET", lb.Retries{Least: 1}, true},
		{"GET", lb.Retries{}, false},
		{"POST", lb.Retries{Least: 1}, false},
	} {
		release := make(chan struct{})
		var late atomic.Int32
		slow := origin(t, func(w http.ResponseWriter, _ *http.Request) {
			late.Add(1)
			<-release
			_, _ = io.WriteString(w, "slow")
		})
		quick := origin(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "quick") })
		addr := front(t, pool(t, upstream.Options{Name: "p", Hedge: 10 * time.Millisecond, Retries: c.budget}, slow, quick))
		if !c.second {
			time.AfterFunc(100*time.Millisecond, func() { close(release) })
		}
		var texts []string
		for range 2 {
			_, text, _ := do(t, c.method, "http://"+addr, "")
			texts = append(texts, text)
		}
		if n := late.Load(); n < 1 || !c.second && n > 1 {
			t.Errorf("%+v: the slow backend was asked %d times", c, late.Load())
		}
		if both := strings.Join(texts, " "); (both == "quick quick") != c.second || !strings.Contains(both, "quick") {
			t.Errorf("%+v: answered by %s", c, both)
		}
		if c.second {
			close(release)
		}
	}
}

func TestMirror(t *testing.T) {
	copies := make(chan string, 10)
	to := pool(t, upstream.Options{Name: "copies"}, origin(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		copies <- r.Method + " " + r.URL.String() + " " + r.Header.Get("User-Agent")[:2] + " " + string(body)
	}))
	filter, err := upstream.Mirror(upstream.MirrorOptions{To: to, Percent: 100, MaxBytes: 5})
	if err != nil {
		t.Fatal(err)
	}
	live := pool(t, upstream.Options{Name: "live"}, origin(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	addr := front(t, filter(live))
	for _, c := range []struct{ method, body, copied string }{
		{"GET", "", "GET /a?b Go "},
		{"POST", "abcde", "POST /a?b Go abcde"},
		{"POST", "abcdef", ""},
	} {
		if status, text, _ := do(t, c.method, "http://"+addr+"/a?b", c.body); status != 200 || text != c.body {
			t.Errorf("%+v: %d %q", c, status, text)
		}
		if c.copied != "" {
			if got := <-copies; got != c.copied {
				t.Errorf("%+v: the copy is %q", c, got)
			}
		}
	}
	if len(copies) > 0 {
		t.Errorf("also copied: %s", <-copies)
	}
	for _, o := range []upstream.MirrorOptions{{Percent: 5}, {To: to}, {To: to, Percent: 101}} {
		if _, err := upstream.Mirror(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// TestMirrorDoesNotWait: copies that nobody takes are left out.
func TestMirrorDoesNotWait(t *testing.T) {
	release := make(chan struct{})
	var copies atomic.Int32
	stuck := exchange.HandlerFunc(func(*exchange.Exchange) { copies.Add(1); <-release })
	filter, err := upstream.Mirror(upstream.MirrorOptions{To: stuck, Percent: 100, AtOnce: 2})
	if err != nil {
		t.Fatal(err)
	}
	addr := front(t, filter(prebuilt()))
	for range 5 {
		do(t, "GET", "http://"+addr, "")
	}
	close(release)
	if copies.Load() > 2 {
		t.Errorf("%d copies at once", copies.Load())
	}
}
