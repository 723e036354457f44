// Package exchange is what travels through the HTTP tier: one request and its
// response, from socket to socket, whatever protocol either side speaks.
// Protocols are thin ends that fill a Request and send a Response, or the other
// way round; all between them sees only this package.
//
// An Exchange and all that hangs on it belong to one goroutine at a time, which
// is the one that serves the client's request; a Body says where that is not so.
package exchange

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"time"
)

// Protocol is a version of HTTP.
type Protocol uint8

// Protocols.
const (
	HTTP10 Protocol = iota
	HTTP11
	HTTP2
	HTTP3
)

func (p Protocol) String() string {
	return [...]string{HTTP10: "HTTP/1.0", HTTP11: "HTTP/1.1", HTTP2: "HTTP/2.0", HTTP3: "HTTP/3.0"}[p]
}

// Unknown is the length of a body whose end shows only when it is there.
const Unknown = -1

// Body is what follows a header. Read is as in io.Reader and gives the body
// without any framing; the error is io.EOF only after the whole of it. Close
// gives up what was not read and may be called more than once. One goroutine
// reads at a time; Close may come from another and ends a Read under way.
//
// A body may also implement io.WriterTo, where it knows a cheaper way (splice,
// prebuilt bytes), Whole, Prompt and Trailered.
type Body interface {
	io.Reader
	io.Closer
}

// Trailered is a Body behind which fields may follow. Trailer is nil, or those
// fields once Read has given io.EOF.
type Trailered interface {
	Body
	Trailer() *Header
}

// Whole is a Body that is in memory, as Bytes is. Rest is what was not read yet.
type Whole interface {
	Body
	Rest() []byte
}

// Prompt is a Body that knows whether the next Read would return at once. What
// is sent is collected while it would, so that a short message leaves in one
// write with its header.
type Prompt interface {
	Body
	Prompt() bool
}

// Request is what a client asks. Byte slices are valid until the exchange has
// ended.
type Request struct {
	Protocol  Protocol
	Method    []byte // a token (RFC 9110, 9.1), case as sent
	Target    []byte // as sent; of HTTP/2 and 3 :path
	Authority []byte // host and port that are asked for: Host or :authority, in lower case
	Path      []byte // canonical, see package route; begins with /, but "*" of OPTIONS *
	Query     []byte // as sent, without ?
	Header    Header // without pseudo-header fields; Host is in Authority only
	Length    int64  // of Body, bytes; 0: none; Unknown
	Body      Body   // nil: none
	// Continue tells that the client waits for 100 (Expect: 100-continue)
	// before it sends the body. Reading the body sends it.
	Continue bool
}

// Response is what becomes of a Request.
type Response struct {
	Status   int                // 200 to 599, or 101 with Tunnel
	Header   Header             // without Connection and the like, which are each connection's own
	Length   int64              // of Body, bytes; 0: none; Unknown. Of HEAD and 304: that of the body that is not sent
	Body     Body               // nil: none
	Tunnel   io.ReadWriteCloser // after 101, or 200 to CONNECT: what is relayed both ways from now on
	Prebuilt []byte             // nil, or status line, header and body as they go out over HTTP/1.1; then Header and Body hold the same for other protocols, and who changes these sets it to nil
}

// Client is the connection that a request came by. It does not change.
type Client struct {
	Listener string         // name in the configuration
	Remote   netip.AddrPort // the peer; behind a trusted PROXY header what that says
	Local    netip.AddrPort
	TLS      *tls.ConnectionState // nil: plain
}

// Exchange is one request and its response.
type Exchange struct {
	Request  Request
	Response Response
	Client   *Client
	Began    time.Time // when the header was there

	// Inform sends an interim response (100 to 199 but 101) at once; nil where
	// the protocol has none (HTTP/1.0). The fields are not kept.
	Inform func(status int, h *Header) error

	// What handlers found out, for logs and metrics.
	Route    string // name of the route, "": none matched
	Pool     string // "": answered here
	Backend  netip.AddrPort
	Attempts int    // requests to backends, retries included
	Cache    string // as in Cache-Status (RFC 9211): "hit", "fwd=miss"…; "": no cache asked
	Failure  string // why weir itself answered with an error, "": it did not
	ID       []byte // of the request, for logs and backends; nil: it has none
	// Source is who asks: Client.Remote's address or, behind trusted proxies,
	// what these say.
	Source  netip.Addr
	Trusted bool // the peer is a trusted proxy: what it says of clients counts

	// What the client's end counted, for Ended.
	Received int64 // bytes of the request's body that were read
	Sent     int64 // bytes of the response's body that were sent
	Cut      error // why the response was not sent whole, nil: it was

	// Ended is called once, by End, when the response has been sent or given
	// up: a field and not a closure, so that it costs no memory. nil: nothing.
	Ended func(*Exchange)

	// Bounds that a route sets. Ends keep them; zero: none but their own.
	Deadline   time.Time     // by when the response is to be sent
	Answer     time.Duration // for the backend's header to come
	TunnelIdle time.Duration // for which a tunnel may be silent both ways

	ctx   context.Context
	gone  func() bool
	after []func()
	room  []byte
}

// Handler answers requests. When Serve returns, x.Response is what is to be
// sent; its body is read, and then closed, by the caller.
type Handler interface {
	Serve(x *Exchange)
}

// HandlerFunc is a function that is a Handler.
type HandlerFunc func(*Exchange)

// Serve calls f.
func (f HandlerFunc) Serve(x *Exchange) { f(x) }

// Context ends at Deadline and, where the protocol tells it without being asked,
// when the client is gone; see Gone.
func (x *Exchange) Context() context.Context {
	if x.ctx == nil {
		x.ctx = context.Background()
	}
	if at, has := x.ctx.Deadline(); !x.Deadline.IsZero() && (!has || x.Deadline.Before(at)) {
		ctx, cancel := context.WithDeadline(x.ctx, x.Deadline)
		x.After(cancel)
		x.ctx = ctx
	}
	return x.ctx
}

// Gone asks whether the client has left. It is for those that wait for long: it
// may cost a system call.
func (x *Exchange) Gone() bool {
	if x.gone != nil {
		return x.gone()
	}
	return x.ctx != nil && errors.Is(x.ctx.Err(), context.Canceled)
}

// SetGone lets Gone ask f, which other goroutines may call too.
func (x *Exchange) SetGone(f func() bool) { x.gone = f }

// Asker is what SetGone was given, for other goroutines; nil: Context tells.
func (x *Exchange) Asker() func() bool { return x.gone }

// SetContext gives the exchange another context, made from Context.
func (x *Exchange) SetContext(ctx context.Context) { x.ctx = ctx }

// roomKept is how much memory of Room an exchange keeps for the next, bytes.
const roomKept = 16 << 10

// Room is an empty slice with a capacity of n bytes that nothing else uses
// until the exchange has ended: for values of fields that a handler makes.
func (x *Exchange) Room(n int) []byte {
	if cap(x.room)-len(x.room) < n {
		if n > roomKept/4 {
			return make([]byte, 0, n)
		}
		x.room = make([]byte, 0, min(roomKept, max(1<<10, 4*n, 2*cap(x.room)))) // what is in use stays with its users
	}
	start := len(x.room)
	x.room = x.room[:start+n]
	return x.room[start : start : start+n]
}

// After makes f run when the response has been sent, or given up: last added,
// first run.
func (x *Exchange) After(f func()) { x.after = append(x.after, f) }

// End calls Ended, closes both bodies and runs what After was given: fields are
// valid until then, as what gives back their memory is given to After. The
// connection's end calls it once for each exchange.
func (x *Exchange) End() {
	if ended := x.Ended; ended != nil {
		x.Ended = nil
		ended(x)
	}
	closeBody(x.Response.Body)
	closeBody(x.Request.Body)
	x.Response.Body, x.Request.Body = nil, nil
	for i := len(x.after) - 1; i >= 0; i-- {
		x.after[i]()
		x.after[i] = nil
	}
	x.after = x.after[:0]
}

func closeBody(b Body) {
	if b != nil {
		_ = b.Close() // giving up is all that is left to do
	}
}

// Reset makes the exchange ready for the next request of a connection, and
// keeps its memory.
func (x *Exchange) Reset() {
	request, response, after, room := x.Request.Header, x.Response.Header, x.after[:0], x.room[:0]
	request.Reset()
	response.Reset()
	*x = Exchange{after: after, room: room}
	x.Request.Header, x.Response.Header = request, response
}

// Fail makes the response an error of weir's own, a short text. why is for logs
// only.
func (x *Exchange) Fail(status int, why string) {
	closeBody(x.Response.Body)
	header := x.Response.Header
	header.Reset()
	x.Response = Response{Status: status, Header: header}
	x.Failure = why
	text := errorPage(status)
	x.Response.Header.AddKnown(ContentType, textPlain)
	x.Response.SetBytes(text)
}

// SetBytes makes b, which is not copied, the body.
func (r *Response) SetBytes(b []byte) {
	r.Length = int64(len(b))
	r.Body = NewBytes(b)
}
