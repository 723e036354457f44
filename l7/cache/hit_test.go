package cache

import (
	"strings"
	"testing"
	"time"

	"weir/l7/exchange"
	"weir/l7/internal/race"
	"weir/l7/prebuilt"
)

// hitter asks for what is stored, again and again, as a connection does.
type hitter struct {
	handler                             exchange.Handler
	x                                   exchange.Exchange
	method, authority, path, query, acc []byte
	now                                 time.Time
}

func newHitter(t testing.TB, p Policy, fields string, size int) *hitter {
	r := newRig(t, Options{}, p)
	r.origin = func(x *exchange.Exchange) {
		respond(t, x, "200\nCache-Control: max-age=3600\nContent-Type: text/html\nETag: \"abc\"\nServer: origin\n"+fields+"\n\n"+strings.Repeat("x", size))
	}
	h := &hitter{handler: r.handler, method: []byte("GET"), authority: []byte("example.org"), path: []byte("/some/path"), query: []byte("a=1&b=2"),
		acc: []byte("gzip, deflate, br"), now: time.Now()}
	r.ask("GET /some/path?a=1&b=2\nAccept-Encoding: br, gzip\nUser-Agent: " + string(h.acc))
	h.hit()
	if h.x.Cache != "hit" {
		t.Fatalf("no hit: %q", h.x.Cache)
	}
	return h
}

func (h *hitter) hit() {
	x := &h.x
	x.Reset()
	x.Began = h.now
	q := &x.Request
	q.Method, q.Authority, q.Path, q.Query = h.method, h.authority, h.path, h.query
	q.Header.AddKnown(exchange.AcceptEncoding, h.acc)
	q.Header.AddKnown(exchange.UserAgent, h.acc)
	h.handler.Serve(x)
	x.End()
}

func TestHitDoesNotAllocate(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector empties pools")
	}
	for name, h := range map[string]*hitter{
		"plain":     newHitter(t, Policy{}, "X: y", 1000),
		"status":    newHitter(t, Policy{Status: true}, "X: y", 1000),
		"vary":      newHitter(t, Policy{}, "Vary: Accept-Encoding", 1000),
		"key":       newHitter(t, Policy{Key: Key{Headers: []string{"User-Agent"}, Cookies: []string{"a"}}}, "X: y", 1000),
		"keep host": newHitter(t, Policy{Key: Key{IgnoreHost: true, IgnoreQuery: true}}, "X: y", 1000),
	} {
		if n := testing.AllocsPerRun(2000, h.hit); n >= 1 {
			t.Errorf("%s: %v allocations", name, n)
		}
		if h.x.Response.Prebuilt == nil {
			t.Errorf("%s: not prebuilt", name)
		}
	}
}

// BenchmarkHit is a hit through the handler; the baseline is what any answer
// from memory must do: the exchange's turn, and copying a message.
func BenchmarkHit(b *testing.B) {
	for _, c := range []struct {
		name   string
		policy Policy
		fields string
		size   int
	}{
		{"plain", Policy{}, "X: y", 1000},
		{"status", Policy{Status: true}, "X: y", 1000},
		{"vary", Policy{Status: true}, "Vary: Accept-Encoding", 1000},
		{"16KiB", Policy{Status: true}, "X: y", 16 << 10},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := newHitter(b, c.policy, c.fields, c.size)
			b.ReportAllocs()
			for b.Loop() {
				h.hit()
			}
		})
	}
	b.Run("baseline", func(b *testing.B) {
		messages, head, body := &prebuilt.Messages{}, []byte(strings.Repeat("y", 300)), []byte(strings.Repeat("x", 1000))
		h := &hitter{method: []byte("GET"), acc: []byte("gzip")}
		h.handler = exchange.HandlerFunc(func(x *exchange.Exchange) { messages.Take(x).Build(x, head, body) })
		b.ReportAllocs()
		for b.Loop() {
			h.hit()
		}
	})
}
