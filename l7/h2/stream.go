package h2

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"weir/l7/exchange"
)

// stream is one exchange. What its handler does not own is under the
// connection's mutex.
type stream struct {
	c      *conn
	id     uint32
	x      exchange.Exchange
	cancel context.CancelFunc
	text   []byte // of the request's header
	lower  []byte // a name that is being written
	chunk  []byte // of a body that is sent

	cond      sync.Cond // any of the following changed
	in        []byte    // received and not read
	credit    int64     // bytes that the client may still send
	unread    int64     // bytes read and not yet given back as credit
	got       int64     // bytes of the body
	body      *body     // nil: the request has none
	length    int64     // that the request says; -1: nothing
	window    int64     // bytes that the client takes
	remoteEnd bool      // the request is whole
	localEnd  bool      // the response is whole
	informed  bool      // the response's header has been sent
	invited   bool      // 100 has been sent
	err       error     // the stream was broken off
	counted   bool      // among the connection's handlers
	lingers   bool      // the response is whole, the request is not, and nobody wants its rest
	stalled   time.Time // since when nothing could be sent; zero: it can
	trailer   exchange.Header
}

const chunkSize = 16 << 10

func newStream() *stream { return &stream{} }

// begin starts the exchange of a request. The connection's mutex is held.
func (c *conn) begin(f *http2.MetaHeadersFrame) error {
	s := c.end.free.Get().(*stream)
	s.c, s.id = c, f.StreamID
	s.cond.L = &c.mu
	s.window, s.credit, s.length = c.streamWin, int64(c.end.options.StreamWindow), -1
	s.remoteEnd = f.StreamEnded()
	if err := s.readRequest(f); err != nil {
		s.release()
		return err
	}
	ctx, cancel := context.WithCancel(c.ctx)
	s.cancel = cancel
	s.x.SetContext(ctx)
	c.streams[s.id] = s
	s.counted = true
	c.handlers++
	c.ended.Add(1)
	go s.serve(f.Truncated)
	return nil
}

func (s *stream) serve(tooLarge bool) {
	c := s.c
	defer c.ended.Done()
	defer s.finish()
	if tooLarge {
		s.x.Fail(431, "the header is too large")
	} else {
		c.end.handler.Serve(&s.x)
	}
	s.respond()
}

// finish ends what the response, or a panic, left open.
func (s *stream) finish() {
	c := s.c
	s.x.End()
	s.cancel()
	c.mu.Lock()
	s.uncount()
	switch {
	case c.streams[s.id] != s:
	case s.localEnd:
		s.linger()
	default:
		c.giveUp(s, http2.ErrCodeInternal)
	}
	c.flushLocked()
	c.mu.Unlock()
	s.release()
}

// uncount makes room for another handler. The connection's mutex is held.
func (s *stream) uncount() {
	if s.counted {
		s.counted = false
		s.c.handlers--
	}
}

// linger throws away the rest of a request that has been answered: many clients
// take a reset at this point for a failure. The connection's mutex is held.
func (s *stream) linger() {
	s.lingers = true
	s.c.giveBack(int64(len(s.in)))
	s.in = nil
	s.stalled = time.Now()
}

// giveUp resets a stream. The connection's mutex is held.
func (c *conn) giveUp(s *stream, code http2.ErrCode) {
	c.out.rst(s.id, code)
	c.given.add(s.id)
	c.drop(s, errOver)
}

var (
	errOver  = errors.New("the exchange is over")
	errWhole = errors.New("the exchange is whole") // both sides have ended it
)

// drop forgets a stream: its frames mean nothing any more. The connection's mutex is
// held.
func (c *conn) drop(s *stream, why error) {
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	if len(c.streams) == 0 {
		c.idleSince = time.Now()
	}
	s.err = why
	c.giveBack(int64(len(s.in)))
	if !errors.Is(why, errOver) && !errors.Is(why, errWhole) {
		s.cancel()
	}
	s.cond.Broadcast()
}

// sent notes that the response is whole. The connection's mutex is held.
func (s *stream) sent() {
	c := s.c
	s.localEnd = true
	if s.remoteEnd && c.streams[s.id] == s {
		c.abuse.earned.Add(1)
		c.drop(s, errWhole)
		s.uncount() // what is left to do waits for nobody
	}
}

// release makes the memory another stream's, unless somebody may still hold
// its body.
func (s *stream) release() {
	if s.body != nil {
		return
	}
	end := s.c.end
	s.x.Reset()
	*s = stream{x: s.x, text: s.text[:0], lower: s.lower[:0], chunk: s.chunk}
	end.free.Put(s)
}
