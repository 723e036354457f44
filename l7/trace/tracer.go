package trace

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"weir/l7/exchange"
	"weir/l7/value"
)

// Options are what a Tracer needs.
type Options struct {
	Endpoint string        // URL
	Service  string        // service.name
	Sample   int           // one in this many requests that have no context; 0 and 1: all
	Headers  http.Header   // that the collector wants; nil: none
	Timeout  time.Duration // of one export; 10 s
	Queue    int           // spans that wait at most; 4096
}

// Tracer makes a span of each request that is sampled and exports it. Serve's
// requests never wait for that.
type Tracer struct {
	options  Options
	client   *http.Client
	count    atomic.Uint64
	spans    chan *span
	dropped  atomic.Uint64
	resource []byte
}

const (
	batchMost  = 512
	batchEvery = time.Second
)

// New makes a tracer; Run exports.
func New(o Options) *Tracer {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Queue == 0 {
		o.Queue = 4096
	}
	return &Tracer{
		options: o, client: &http.Client{Timeout: o.Timeout}, spans: make(chan *span, o.Queue),
		resource: appendAttributes(nil, attribute{"service.name", o.Service}),
	}
}

// Dropped is how many spans were not exported, for lack of room or because the
// collector did not take them.
func (t *Tracer) Dropped() uint64 { return t.dropped.Load() }

// span is one request.
type span struct {
	context    Context
	parent     [8]byte // zero: none
	name       string
	began      time.Time
	ended      time.Time
	failed     bool
	attributes []attribute
}

type attribute struct{ key, value string }

// Handler makes requests part of traces before next sees them.
func (t *Tracer) Handler(next exchange.Handler) exchange.Handler {
	return exchange.HandlerFunc(func(x *exchange.Exchange) {
		h := &x.Request.Header
		parent, has := Parse(h.Get(exchange.Traceparent))
		if h.Count(exchange.Traceparent) > 1 {
			has = false
		}
		c := parent
		if !has {
			n := t.count.Add(1)
			c = Context{Sampled: t.options.Sample <= 1 || n%uint64(t.options.Sample) == 0}
			fill(c.Trace[:])
			h.Del("Tracestate") // that of a context that is none
		}
		fill(c.Span[:])
		h.SetKnown(exchange.Traceparent, c.Append(x.Room(contextLength)))
		if c.Sampled {
			s := &span{context: c, parent: parent.Span, began: x.Began}
			if !has {
				s.parent = [8]byte{}
			}
			x.After(func() { t.end(x, s) })
		}
		next.Serve(x)
	})
}

func (t *Tracer) end(x *exchange.Exchange, s *span) {
	s.ended = time.Now()
	s.name = string(x.Request.Method)
	if x.Route != "" {
		s.name += " " + x.Route
	}
	s.failed = x.Response.Status >= http.StatusInternalServerError || x.Cut != nil
	s.attributes = []attribute{
		{"http.request.method", string(x.Request.Method)}, {"url.path", string(x.Request.Path)}, {"url.scheme", value.Scheme(x)},
		{"server.address", string(value.Hostname(x))}, {"client.address", x.Source.String()},
		{"http.response.status_code", strconv.Itoa(x.Response.Status)}, {"http.route", x.Route},
		{"network.protocol.version", x.Request.Protocol.String()[len("HTTP/"):]},
		{"user_agent.original", string(x.Request.Header.Get(exchange.UserAgent))},
		{"weir.pool", x.Pool}, {"weir.cache", x.Cache}, {"weir.failure", x.Failure},
	}
	if x.Backend.IsValid() {
		s.attributes = append(s.attributes, attribute{"weir.backend", x.Backend.String()}, attribute{"weir.attempts", strconv.Itoa(x.Attempts)})
	}
	select {
	case t.spans <- s:
	default:
		t.dropped.Add(1)
	}
}

// Run exports until ctx ends, and then what waits.
func (t *Tracer) Run(ctx context.Context) error {
	tick := time.NewTicker(batchEvery)
	defer tick.Stop()
	var batch []*span
	for {
		select {
		case s := <-t.spans:
			if batch = append(batch, s); len(batch) < batchMost {
				continue
			}
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.options.Timeout)
			t.export(last, t.rest(batch))
			cancel()
			return nil
		}
		t.export(ctx, batch)
		batch = batch[:0]
	}
}

func (t *Tracer) rest(batch []*span) []*span {
	for {
		select {
		case s := <-t.spans:
			batch = append(batch, s)
		default:
			return batch
		}
	}
}

func (t *Tracer) export(ctx context.Context, batch []*span) {
	if len(batch) == 0 {
		return
	}
	if err := t.post(ctx, t.encode(batch)); err != nil {
		t.dropped.Add(uint64(len(batch)))
	}
}

func (t *Tracer) post(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.options.Endpoint, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, values := range t.options.Headers {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := t.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // so that the connection can be used again
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answered %s", answer.Status)
	}
	return nil
}
