package trace

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/l7/exchange"
)

func TestParse(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for text, want := range map[string]bool{
		good: true, strings.Replace(good, "-01", "-00", 1): true, "cc" + good[2:] + "-what": true, "cc" + good[2:]: true,
		"": false, good[:54]: false, good + "-x": false, "ff" + good[2:]: false, strings.ToUpper(good): false,
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": false, "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": false,
		"cc" + good[2:] + "x": false, strings.Replace(good, "-b", "_b", 1): false,
	} {
		c, ok := Parse([]byte(text))
		if ok != want || ok && c.Sampled != strings.Contains(text, "31-01") {
			t.Errorf("%q: %+v, %v", text, c, ok)
		}
		if ok && strings.HasPrefix(text, "00") && string(c.Append(nil)) != text {
			t.Errorf("%q is written %q", text, c.Append(nil))
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, ok := Parse(b); ok {
			if again, ok := Parse(c.Append(nil)); !ok || again != c {
				t.Errorf("%q became %+v", b, again)
			}
		}
	})
}

// collector is a server that keeps what it was sent.
type collector struct {
	mu     sync.Mutex
	bodies []string
	status int
	came   chan struct{}
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	c.bodies = append(c.bodies, r.Header.Get("Authorization")+" "+string(body))
	c.mu.Unlock()
	w.WriteHeader(c.status)
	c.came <- struct{}{}
}

func request(parent string) *exchange.Exchange {
	x := &exchange.Exchange{Client: &exchange.Client{}, Source: netip.MustParseAddr("198.51.100.7"), Began: time.Now(), Route: "r", Pool: "p"}
	x.Request.Method, x.Request.Path, x.Request.Authority = []byte("GET"), []byte(`/a"b`), []byte("www.example.org:80")
	x.Request.Protocol = exchange.HTTP11
	if parent != "" {
		x.Request.Header.Add("traceparent", []byte(parent))
		x.Request.Header.Add("Tracestate", []byte("a=b"))
	}
	return x
}

func serve(tracer *Tracer, x *exchange.Exchange) Context {
	tracer.Handler(exchange.HandlerFunc(func(x *exchange.Exchange) { x.Response.Status = 502 })).Serve(x)
	c, _ := Parse(x.Request.Header.Get(exchange.Traceparent))
	x.End()
	return c
}

func TestExport(t *testing.T) {
	c := &collector{status: 200, came: make(chan struct{}, 10)}
	server := httptest.NewServer(c)
	defer server.Close()
	tracer := New(Options{Endpoint: server.URL, Service: "edge", Headers: http.Header{"Authorization": {"secret"}}})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = tracer.Run(ctx) })
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	sent := serve(tracer, request(parent))
	cancel()
	running.Wait()
	<-c.came
	var got struct {
		ResourceSpans []struct {
			Resource   struct{ Attributes []any }
			ScopeSpans []struct {
				Spans []struct {
					TraceID, SpanID, ParentSpanID, Name, StartTimeUnixNano string
					Kind                                                   int
					Status                                                 struct{ Code int }
					Attributes                                             []any
				}
			}
		}
	}
	text, is := strings.CutPrefix(c.bodies[0], "secret ")
	if err := json.Unmarshal([]byte(text), &got); err != nil || !is {
		t.Fatalf("%v in %s", err, c.bodies[0])
	}
	s := got.ResourceSpans[0].ScopeSpans[0].Spans[0]
	if s.TraceID != parent[3:35] || s.ParentSpanID != parent[36:52] || s.SpanID != string(sent.Append(nil)[36:52]) || s.Name != "GET r" || s.Kind != 2 || s.Status.Code != 2 {
		t.Errorf("%+v", s)
	}
	for _, want := range []string{
		`{"key":"service.name","value":{"stringValue":"edge"}}`, `{"key":"url.path","value":{"stringValue":"/a\"b"}}`,
		`{"key":"http.response.status_code","value":{"intValue":"502"}}`, `{"key":"server.address","value":{"stringValue":"www.example.org"}}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

func TestSampling(t *testing.T) {
	tracer := New(Options{Sample: 4, Queue: 100})
	sampled := 0
	for range 40 {
		if c := serve(tracer, request("")); c.Sampled {
			sampled++
		} else if c.Trace == [16]byte{} {
			t.Error("no context was made")
		}
	}
	if sampled != 10 || len(tracer.spans) != 10 {
		t.Errorf("%d sampled, %d spans", sampled, len(tracer.spans))
	}
	x := request("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	if c := serve(tracer, x); c.Sampled || len(tracer.spans) != 10 {
		t.Error("a trace that is not sampled was")
	}
	x = request("nonsense")
	serve(tracer, x)
	if x.Request.Header.GetText("Tracestate") != nil {
		t.Error("the state of a broken context was kept")
	}
}

func TestDropped(t *testing.T) {
	tracer := New(Options{Queue: 2})
	for range 5 {
		serve(tracer, request(""))
	}
	if tracer.Dropped() != 3 {
		t.Errorf("%d dropped", tracer.Dropped())
	}
	c := &collector{status: 500, came: make(chan struct{}, 10)}
	server := httptest.NewServer(c)
	defer server.Close()
	tracer.options.Endpoint = server.URL
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = tracer.Run(ctx)
	if tracer.Dropped() != 5 {
		t.Errorf("%d dropped, want 5", tracer.Dropped())
	}
}
