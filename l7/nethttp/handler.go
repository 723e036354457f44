// Package nethttp lets an exchange.Handler answer where the protocol's code
// speaks net/http, as that of HTTP/3 does. Nothing behind it knows.
package nethttp

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"weir/l7/exchange"
)

// Options say how requests become exchanges.
type Options struct {
	Protocol exchange.Protocol
	// Client is the connection that a request came by. Each connection has one,
	// which does not change.
	Client func(*http.Request) *exchange.Client
}

// New makes an http.Handler of h, for use by any number of goroutines.
func New(o Options, h exchange.Handler) http.Handler {
	s := &server{options: o, handler: h}
	s.free.New = func() any { return &turn{} }
	return s
}

type server struct {
	options Options
	handler exchange.Handler
	free    sync.Pool // of *turn
}

// turn is one request and the memory that it needs.
type turn struct {
	x     exchange.Exchange
	names []byte // text of method, target and authority
	w     http.ResponseWriter
	begun bool // the response's header has been sent
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := s.free.Get().(*turn)
	t.w = w
	s.read(t, r)
	done := false
	defer func() { // also if the handler panics
		t.x.End()
		if done {
			t.reset()
			s.free.Put(t)
		}
	}()
	if hostDisagrees(r) {
		t.x.Fail(http.StatusBadRequest, "Host is not what :authority says")
	} else {
		s.handler.Serve(&t.x)
	}
	if t.x.Cut = t.send(r); t.x.Cut != nil {
		panic(http.ErrAbortHandler) // resets the stream: the client must not take it for whole
	}
	done = true
}

func (t *turn) reset() {
	t.x.Reset()
	clear(t.names)
	t.names, t.w, t.begun = t.names[:0], nil, false
}

func (s *server) read(t *turn, r *http.Request) {
	x := &t.x
	x.Client = s.options.Client(r)
	x.Began = time.Now()
	x.SetContext(r.Context())
	q := &x.Request
	q.Protocol = s.options.Protocol
	q.Method = t.text(r.Method)
	q.Target = t.text(r.RequestURI)
	q.Authority = bytes.ToLower(t.text(r.Host))
	for name, values := range r.Header {
		id := exchange.NameOf(name)
		for _, v := range values {
			q.Header.Append(id, []byte(name), []byte(v))
		}
	}
	q.Length = r.ContentLength
	if r.ContentLength != 0 && r.Body != nil {
		q.Body = &body{r: r, read: &t.x.Received}
	}
	if q.Body != nil && r.ContentLength < 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		t.peek(r)
	}
	q.Continue = q.Header.Has(exchange.Expect)
	for _, said := range []exchange.Name{exchange.ContentLength, exchange.Host, exchange.Expect} {
		q.Header.DelKnown(said) // by Length, Authority and Continue
	}
	x.Inform = t.inform
}

// peek finds out whether a request that rarely has a body has one: in HTTP/3
// that is not said ahead. It would be sent on as one that has.
func (t *turn) peek(r *http.Request) {
	var first [1]byte
	n, err := io.ReadFull(r.Body, first[:])
	switch {
	case n > 0:
		t.x.Request.Body = &body{r: r, read: &t.x.Received, first: first[:]}
	case errors.Is(err, io.EOF):
		t.x.Request.Body, t.x.Request.Length = nil, 0
	}
}

// hostDisagrees finds requests that name two hosts (RFC 9113, 8.3.1): who comes
// behind might believe the other one.
func hostDisagrees(r *http.Request) bool {
	host, there := r.Header["Host"]
	return there && (len(host) > 1 || !strings.EqualFold(host[0], r.Host))
}

// text copies s to memory of the turn.
func (t *turn) text(s string) []byte {
	from := len(t.names)
	t.names = append(t.names, s...)
	return t.names[from:len(t.names):len(t.names)]
}

// inform sends an interim response.
func (t *turn) inform(status int, h *exchange.Header) error {
	if t.begun || status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
		return http.ErrNotSupported
	}
	to := t.w.Header()
	copyHeader(to, h)
	t.w.WriteHeader(status)
	clear(to)
	return nil
}
