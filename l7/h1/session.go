package h1

import (
	"errors"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"weir/l7/exchange"
	"weir/l7/stream"
)

// session is one connection of a client.
type session struct {
	server *Server
	conn   *stream.Conn
	client *exchange.Client
	rd     reader
	w      *work       // nil while it waits for a request
	busy   atomic.Bool // w is there
	over   bool        // serveHere has answered the last request
	keep   bool        // another request may follow
	served int         // requests before this one

	interim  sync.Mutex // held to write interim answers
	answered bool       // the answer has begun, so none may follow

	inform  func(int, *exchange.Header) error // of sendInterim, made once
	goAhead func() error                      // of sendContinue, made once
	here    func(n int) bool                  // of serveHere, made once
	last    time.Time                         // when the request before this one was there
	gone    func() bool                       // of stream.Conn.Ended, made once
}

// work is what a request needs while it is under way.
type work struct {
	x       exchange.Exchange
	m       message
	body    body
	in      []byte
	date    [len(http.TimeFormat)]byte
	dateFor int64 // the second, Unix time, that date tells
}

func newWork() *work {
	return &work{in: make([]byte, smallBuffer)}
}

func newSession(s *Server, conn *stream.Conn, client *exchange.Client) *session {
	ss := &session{server: s, conn: conn, client: client}
	ss.rd = reader{conn: conn, timeout: s.options.Body, rate: max(s.options.BodyRate, 0)}
	ss.inform, ss.goAhead, ss.gone, ss.here = ss.sendInterim, ss.sendContinue, conn.Ended, ss.serveHere
	return ss
}

// Lend implements stream.Lender.
func (ss *session) Lend() []byte {
	ss.w = ss.server.work.Get().(*work)
	ss.rd.start(ss.w.in, 0)
	return ss.w.in
}

// Return implements stream.Lender.
func (ss *session) Return() {
	ss.rd.buf = nil
	if ss.w.in != nil { // else it was a tunnel's
		ss.server.work.Put(ss.w)
	}
	ss.w = nil
}

func (ss *session) run() {
	for ss.next() {
		ss.serve()
		if !ss.finish() {
			return
		}
	}
}

// next receives a request's head. It answers those that are refused.
func (ss *session) next() bool {
	if ss.w == nil && !ss.await() {
		return false
	}
	x := &ss.w.x
	x.Request.Header.Reset() // serveHere may have begun with it
	n, err := parseRequest(ss.rd.pending(), &x.Request, &ss.w.m, ss.server.options.Fields)
	if errors.Is(err, errIncomplete) {
		err = badBegin(ss.rd.pending()[0])
	}
	if err == nil && n == 0 {
		n, err = ss.rest()
	}
	if err == nil && n > ss.server.options.Head {
		err = errHead
	}
	if err == nil && !ss.server.options.Connect && string(x.Request.Method) == http.MethodConnect {
		err = &Error{http.StatusMethodNotAllowed, "CONNECT is not allowed"}
	}
	if err != nil {
		ss.refuse(err)
		return false
	}
	ss.rd.took(n)
	ss.begin(x, time.Now())
	return true
}

// await waits for the first bytes of a request that serveHere leaves.
func (ss *session) await() bool {
	for {
		before := ss.last
		ss.conn.ReadWithin(time.Now(), ss.server.options.Idle)
		n, err := ss.conn.ReadServe(ss, ss.here)
		switch {
		case n > 0 && !ss.over:
			ss.received(n)
			return true
		case !errors.Is(err, os.ErrDeadlineExceeded) || before.Equal(ss.last) || ss.over || ss.conn.Interrupted():
			return false
		}
	}
}

// received notes that a request has begun, with n bytes.
func (ss *session) received(n int) {
	ss.busy.Store(true)
	ss.conn.Resume() // it came before Drain stopped reading: it is answered
	ss.rd.w = n
}

// Requests that follow each other faster than briefly are answered where they
// are read. The next is waited for so for no longer than aWhile.
const (
	briefly = 50 * time.Millisecond
	aWhile  = 500 * time.Millisecond
)

// serveHere answers a request of which n bytes were read, if it is all there,
// has no body, and others came just before. It reports whether it has, and
// another may follow.
func (ss *session) serveHere(n int) bool {
	ss.received(n)
	now, r := time.Now(), &ss.w.x.Request
	if now.Sub(ss.last) > briefly {
		ss.last = now
		return false
	}
	length, err := parseRequest(ss.rd.pending(), r, &ss.w.m, ss.server.options.Fields)
	if err != nil || length != n || length > ss.server.options.Head || r.Length != 0 ||
		r.Header.Has(exchange.Upgrade) || string(r.Method) == http.MethodConnect {
		ss.last = time.Time{}
		return false
	}
	ss.last = now
	ss.rd.took(n)
	ss.begin(&ss.w.x, now)
	ss.serve()
	if !ss.finish() {
		ss.over = true
		return false
	}
	ss.conn.ReadWithin(now, aWhile)
	return true
}

// rest receives the rest of a head.
func (ss *session) rest() (n int, err error) {
	ss.conn.ReadBy(time.Now().Add(ss.server.options.Header))
	if err := ss.rd.awaitHead(ss.server.options.Head, time.Time{}); err != nil {
		return 0, err
	}
	ss.w.x.Request.Header.Reset()
	return parseRequest(ss.rd.pending(), &ss.w.x.Request, &ss.w.m, ss.server.options.Fields)
}

// begin fills in what the parser does not know.
func (ss *session) begin(x *exchange.Exchange, now time.Time) {
	x.Client = ss.client
	x.Began = now
	x.SetGone(ss.gone)
	r := &x.Request
	ss.keep = !ss.w.m.close && (r.Protocol == exchange.HTTP11 || ss.w.m.keepAlive)
	ss.answered = false
	ss.served++
	if most := ss.server.options.Requests; most > 0 && ss.served >= most {
		ss.keep = false
	}
	if r.Protocol == exchange.HTTP11 {
		x.Inform = ss.inform
	}
	if r.Length == 0 {
		return
	}
	how := counted
	if r.Length == exchange.Unknown {
		how = chunked
	}
	ss.w.body.start(&ss.rd, how, r.Length)
	if r.Continue {
		ss.w.body.before = ss.goAhead
	}
	r.Body = &ss.w.body
}

func (ss *session) serve() {
	x := &ss.w.x
	ss.server.options.Handler.Serve(x)
	if err := ss.respond(x); err != nil {
		ss.keep = false
		x.Cut = err
	}
}

// finish ends the exchange and reports whether there may be another.
func (ss *session) finish() bool {
	w := ss.w
	settled := true
	if w.x.Request.Body != nil {
		settled = ss.settle()
		w.x.Received = w.body.count.Load()
	}
	w.x.End()
	if !settled {
		ss.linger()
		return false
	}
	if !ss.keep {
		return false
	}
	if w.x.Reset(); ss.rd.r < ss.rd.w {
		ss.rd.start(w.in, copy(ss.fit(w), ss.rd.pending())) // pipelined
		return true
	}
	ss.Return()
	ss.busy.Store(false)
	return !ss.server.draining.Load()
}

// fit gives the work a buffer that holds what was received of later requests.
func (ss *session) fit(w *work) []byte {
	if len(ss.rd.pending()) > len(w.in) {
		w.in = make([]byte, len(ss.rd.buf))
	}
	return w.in
}
