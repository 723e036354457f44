package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"time"

	"weir/l7/exchange"
	"weir/l7/h1"
	"weir/loader/lb"
)

// carrier2 sends requests over HTTP/2, by the standard library's transport.
type carrier2 struct{ pool *Pool }

// transport2 is an endpoint's; nil until the first request.
type transport2 = *http.Transport

func newCarrier2(p *Pool) *carrier2 { return &carrier2{p} }

// notConnected is a failure before anything could be sent.
type notConnected struct{ error }

func (n notConnected) Unwrap() error { return n.error }

func (c *carrier2) transport(e *endpoint) *http.Transport {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.h2 != nil {
		return e.h2
	}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(c.pool.o.Protocol == lb.UpstreamH2C)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, c.pool.o.Connect)
		defer cancel()
		nc, err := c.pool.o.Dial(ctx, e.Addr)
		if err != nil {
			return nil, notConnected{fmt.Errorf("connect: %w", err)}
		}
		return nc, nil
	}
	e.h2 = &http.Transport{
		Protocols:          &protocols,
		DialContext:        dial,
		DisableCompression: true,
		IdleConnTimeout:    c.pool.o.Connections.IdleFor,
		// bytes, as h1's limit
		MaxResponseHeaderBytes: int64(c.pool.o.Client.Head),
	}
	if c.pool.o.TLS != nil {
		config := c.pool.tlsFor(e.Addr).Clone()
		config.NextProtos = []string{"h2"}
		e.h2.TLSClientConfig = config
		e.h2.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return handshake2(ctx, nc, config)
		}
	}
	return e.h2
}

func handshake2(ctx context.Context, nc net.Conn, config *tls.Config) (net.Conn, error) {
	secure := tls.Client(nc, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, notConnected{fmt.Errorf("TLS handshake: %w", err)}
	}
	if secure.ConnectionState().NegotiatedProtocol != "h2" {
		_ = secure.Close()
		return nil, notConnected{errors.New("the backend does not speak h2")}
	}
	return secure, nil
}

func (c *carrier2) serve(x *exchange.Exchange, e *endpoint) (func(), *h1.Failure) {
	ctx, cancel := context.WithCancelCause(x.Context())
	watch := watched(x, cancel)
	release := func() {
		watch.stop()
		cancel(context.Canceled)
		e.end()
	}
	request, body, err := request2(ctx, x, c.pool.o.TLS != nil, e.Addr)
	if err != nil {
		release()
		return nil, &h1.Failure{Err: err, Client: true}
	}
	var late *time.Timer
	within := c.pool.o.Client.Answer
	if x.Answer > 0 && (within == 0 || x.Answer < within) {
		within = x.Answer
	}
	if within > 0 {
		late = time.AfterFunc(within, func() { cancel(errLate) })
	}
	response, err := c.transport(e).RoundTrip(request)
	if late != nil && !late.Stop() && err == nil {
		err = errLate
		_ = response.Body.Close()
	}
	if err != nil {
		failure := failure2(ctx, err, body)
		release()
		return nil, failure
	}
	accept2(x, response)
	return release, nil
}

// errLate is an answer that did not come in time. It counts as a timeout.
var errLate = fmt.Errorf("wait for an answer: %w", context.DeadlineExceeded)

// watch asks whether the client is still there for as long as an exchange lasts.
type watch struct {
	mu    sync.Mutex
	timer *time.Timer // nil: stopped, or there is nobody to ask
}

func watched(x *exchange.Exchange, cancel context.CancelCauseFunc) *watch {
	w := &watch{}
	gone := x.Asker()
	if gone == nil {
		return w
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(lookAfter, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case w.timer == nil:
		case gone():
			cancel(context.Canceled)
		default:
			w.timer.Reset(lookAfter)
		}
	})
	return w
}

// stop returns when nobody is asked any more.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

func failure2(ctx context.Context, err error, body *body2) *h1.Failure {
	f := &h1.Failure{Err: err, Sent: true}
	var not notConnected
	switch {
	case errors.As(err, &not):
		f.Sent = false
	case errors.Is(context.Cause(ctx), errLate):
		f.Err = errLate
	case body != nil && body.err != nil, ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled):
		f.Client = true
	}
	f.Taken = body != nil && body.taken
	return f
}

// request2 makes the standard library's request.
func request2(ctx context.Context, x *exchange.Exchange, secure bool, addr netip.AddrPort) (*http.Request, *body2, error) {
	r := &x.Request
	path, err := url.PathUnescape(string(r.Path))
	if err != nil {
		return nil, nil, fmt.Errorf("path %q: %w", r.Path, err)
	}
	u := &url.URL{Scheme: "http", Host: string(r.Authority), Path: path, RawPath: string(r.Path), RawQuery: string(r.Query)}
	if secure {
		u.Scheme = "https"
	}
	if u.Host == "" { // a client of HTTP/1.0
		u.Host = addr.String()
	}
	header := http.Header{"User-Agent": {""}} // else the library puts its own
	for _, f := range r.Header.Fields() {
		if f.ID != exchange.Upgrade {
			name := textproto.CanonicalMIMEHeaderKey(string(f.Text))
			header[name] = append(header[name], string(f.Value))
		}
	}
	if agent := header["User-Agent"]; len(agent) > 1 {
		header["User-Agent"] = agent[1:]
	}
	request := &http.Request{Method: string(r.Method), URL: u, Host: u.Host, Header: header}
	var body *body2
	if r.Body != nil {
		body = &body2{Body: r.Body, trailer: declared(header)}
		request.Body, request.ContentLength, request.Trailer = body, r.Length, body.trailer
	}
	if inform := x.Inform; inform != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			Got1xxResponse: func(status int, fields textproto.MIMEHeader) error {
				if status == http.StatusContinue {
					return nil
				}
				var h exchange.Header
				addAll(&h, http.Header(fields))
				return inform(status, &h)
			},
		})
	}
	return request.WithContext(ctx), body, nil
}

// declared makes place for the trailer fields that a header announces.
func declared(header http.Header) http.Header {
	names := header["Trailer"]
	delete(header, "Trailer") // the library writes it
	var trailer http.Header
	for _, list := range names {
		for name := range strings.SplitSeq(list, ",") {
			if trailer == nil {
				trailer = http.Header{}
			}
			trailer[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))] = nil
		}
	}
	return trailer
}

// body2 is the body of a request with its trailer.
type body2 struct {
	exchange.Body
	trailer http.Header
	taken   bool
	err     error // why it is not whole
}

// Read implements io.Reader.
func (b *body2) Read(p []byte) (int, error) {
	b.taken = true
	n, err := b.Body.Read(p)
	if errors.Is(err, io.EOF) {
		b.fillTrailer()
	} else if err != nil {
		b.err = err
	}
	return n, err
}

func (b *body2) fillTrailer() {
	t, ok := b.Body.(exchange.Trailered)
	if !ok || t.Trailer() == nil {
		return
	}
	for _, f := range t.Trailer().Fields() {
		name := textproto.CanonicalMIMEHeaderKey(string(f.Text))
		if _, announced := b.trailer[name]; announced {
			b.trailer[name] = append(b.trailer[name], string(f.Value))
		}
	}
}

// accept2 makes the library's response that of x.
func accept2(x *exchange.Exchange, from *http.Response) {
	r := &x.Response
	r.Status = from.StatusCode
	r.Header.Reset()
	addAll(&r.Header, from.Header)
	r.Header.DelKnown(exchange.ContentLength)
	r.Header.DelKnown(exchange.Connection)
	r.Length = from.ContentLength
	if string(x.Request.Method) == http.MethodHead || r.Status == http.StatusNotModified || r.Length == 0 {
		_ = from.Body.Close()
		return
	}
	r.Body = &answer2{response: from}
}

func addAll(to *exchange.Header, from http.Header) {
	for name, values := range from {
		for _, v := range values {
			to.Add(name, []byte(v))
		}
	}
}

// answer2 is the body of an answer.
type answer2 struct {
	response *http.Response
	trailer  exchange.Header
}

// Read implements io.Reader.
func (a *answer2) Read(p []byte) (int, error) {
	n, err := a.response.Body.Read(p)
	if errors.Is(err, io.EOF) && a.trailer.Len() == 0 {
		addAll(&a.trailer, a.response.Trailer)
	}
	return n, err
}

// Trailer implements exchange.Trailered.
func (a *answer2) Trailer() *exchange.Header {
	if a.trailer.Len() == 0 {
		return nil
	}
	return &a.trailer
}

// Close implements io.Closer.
func (a *answer2) Close() error { return a.response.Body.Close() }

func (c *carrier2) sweep(*endpoint) {} // the transport does

func (c *carrier2) drop(e *endpoint) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.h2 != nil {
		e.h2.CloseIdleConnections()
	}
}
