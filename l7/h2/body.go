package h2

import (
	"errors"
	"io"
	"math"

	"weir/l7/exchange"
)

// body is the request's. Its stream is not used again, so that it may be read
// from anywhere at any time.
type body struct {
	s      *stream
	closed bool // under the connection's mutex
}

var errClosed = errors.New("the body of the request has been given up")

// Read implements exchange.Body.
func (b *body) Read(p []byte) (int, error) {
	s, c := b.s, b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	s.invite()
	for len(s.in) == 0 && !s.remoteEnd && s.err == nil && !b.closed {
		s.cond.Wait()
	}
	switch {
	case b.closed:
		return 0, errClosed
	case s.err != nil && !errors.Is(s.err, errWhole):
		return 0, s.err
	case len(s.in) == 0:
		return 0, io.EOF
	}
	n := copy(p, s.in)
	s.in = s.in[:copy(s.in, s.in[n:])]
	s.x.Received += int64(n)
	s.read(int64(n))
	if len(c.out.buf) > 0 {
		c.flushLocked()
	}
	return n, nil
}

// invite tells a client that waits for it to send its body. The connection's
// mutex is held.
func (s *stream) invite() {
	if !s.x.Request.Continue || s.invited || s.informed || s.err != nil {
		return
	}
	s.invited = true
	s.encodeStatus(100)
	s.c.out.headers(s.id, s.c.frameSize, false)
	s.c.flushLocked()
}

// read gives bytes that have been read back to the client's windows. The
// connection's mutex is held.
func (s *stream) read(n int64) {
	if n == 0 || s.err != nil { // drop has given them back
		return
	}
	s.c.giveBack(n)
	if s.remoteEnd {
		return
	}
	if s.unread += n; s.unread < int64(s.c.end.options.StreamWindow)/2 {
		return
	}
	s.c.out.windowUpdate(s.id, uint32(min(s.unread, math.MaxInt32)))
	s.credit += s.unread
	s.unread = 0
}

// Close implements exchange.Body. Finish tells the client.
func (b *body) Close() error {
	c := b.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	b.closed = true
	b.s.cond.Broadcast()
	return nil
}

// Trailer implements exchange.Trailered.
func (b *body) Trailer() *exchange.Header {
	b.s.c.mu.Lock()
	defer b.s.c.mu.Unlock()
	if b.s.trailer.Len() == 0 {
		return nil
	}
	return &b.s.trailer
}
