package h1

import (
	"errors"
	"io"
	"sync"
	"time"

	"weir/l7/exchange"
	"weir/l7/stream"
)

// sender writes a message: buf is what is to go out next, its head at first.
type sender struct {
	conn    *stream.Conn
	buf     []byte
	timeout time.Duration // for a write to be taken
	count   int64         // bytes of the body so far
	sent    bool          // something went out
	broken  bool          // the connection does not take more
	large   *[]byte       // the pool's, if buf is of it
	small   []byte        // then what buf was
}

// copies holds the buffers of messages that do not fit that of their head.
var copies = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}

var errLonger = errors.New("a body that is longer than it was said to be")

func (s *sender) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	s.sent = true
	s.conn.WriteWithin(time.Now(), s.timeout)
	_, err := s.conn.Write(s.buf)
	s.buf = s.buf[:0]
	s.broken = err != nil
	return err
}

// body sends a body behind the head. As much as there is without waiting goes
// out in one write with it.
func (s *sender) body(b exchange.Body, how framing, length int64) error {
	defer s.shrink()
	if length > int64(cap(s.buf)-len(s.buf)) {
		s.grow()
	}
	var err error
	if how == chunked {
		err = s.chunked(b)
	} else {
		err = s.plain(b, length)
	}
	if err != nil {
		return err
	}
	return s.flush()
}

// grow takes a large buffer. What was not flushed must be less than that.
func (s *sender) grow() {
	if s.large == nil {
		s.large = copies.Get().(*[]byte)
		s.small = s.buf[:0]
		s.buf = append((*s.large)[:0], s.buf...)
	}
}

// shrink goes back to the small one, with nothing in it.
func (s *sender) shrink() {
	if s.large != nil {
		copies.Put(s.large)
		s.buf, s.large = s.small, nil
	}
}

// ready makes room for what b gives next. If that may take long, what there is
// leaves first, and no large buffer is kept waiting.
func (s *sender) ready(b exchange.Body, length int64) (waiting bool, err error) {
	waiting = waits(b, length)
	free := cap(s.buf) - len(s.buf)
	switch {
	case waiting:
		err = s.flush()
		s.shrink()
	case free < smallBuffer/4 && (length < 0 || int64(free) < length):
		err = s.flush()
		s.grow()
	}
	return waiting, err
}

// waits reports whether reading b may take long, so that what is ready should
// leave before. Of other bodies that are of a known length something is
// expected at once: they come from memory or a disk.
func waits(b exchange.Body, length int64) bool {
	if p, ok := b.(exchange.Prompt); ok {
		return !p.Prompt()
	}
	return length == exchange.Unknown
}

func (s *sender) plain(b exchange.Body, length int64) error {
	for left := length; left != 0; {
		waiting, err := s.ready(b, left)
		if err != nil {
			return err
		}
		if left >= spliceFrom && (waiting || len(s.buf) == 0) && s.direct(b) {
			return s.hand(b.(io.WriterTo), left)
		}
		n, err := b.Read(s.buf[len(s.buf):cap(s.buf)])
		s.buf = s.buf[:len(s.buf)+n]
		s.count += int64(n)
		if left > 0 {
			if left -= int64(n); left < 0 {
				return errLonger
			}
		}
		if errors.Is(err, io.EOF) {
			return cutShort(left)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cutShort is the error of a body that ended with left bytes to come.
func cutShort(left int64) error {
	if left > 0 {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// gather adds to buf what there is of a body of a known length without waiting,
// and tells how much is left of it.
func (s *sender) gather(b exchange.Body, length int64) (left int64, err error) {
	if length > int64(cap(s.buf)-len(s.buf)) {
		return length, nil
	}
	for left = length; left > 0 && !waits(b, left); {
		n, err := b.Read(s.buf[len(s.buf) : len(s.buf)+int(left)])
		s.buf = s.buf[:len(s.buf)+n]
		left -= int64(n)
		if left > 0 && err != nil {
			return left, cutOff(err)
		}
	}
	return left, nil
}

// direct reports whether b can write itself to the socket.
func (s *sender) direct(b exchange.Body) bool {
	if own, ok := b.(*body); ok && !own.plain() {
		return false
	}
	_, ok := b.(io.WriterTo)
	return ok && s.conn.TCP() != nil
}

// hand lets the body write itself.
func (s *sender) hand(b io.WriterTo, left int64) error {
	if err := s.flush(); err != nil {
		return err
	}
	s.conn.WriteWithin(time.Now(), s.timeout)
	n, err := b.WriteTo(s.conn)
	s.count += n
	if err != nil {
		return err
	}
	return cutShort(left - n)
}

func (s *sender) chunked(b exchange.Body) error {
	for {
		if _, err := s.ready(b, exchange.Unknown); err != nil {
			return err
		}
		from := len(s.buf) + chunkRoom
		n, err := b.Read(s.buf[from : cap(s.buf)-len("\r\n0\r\n\r\n")])
		s.count += int64(n)
		if n > 0 {
			s.chunk(s.buf[from : from+n])
		}
		if errors.Is(err, io.EOF) {
			return s.lastChunk(b)
		}
		if err != nil {
			return err
		}
	}
}

// chunk frames data, which is a little behind buf in the same memory.
func (s *sender) chunk(data []byte) {
	s.buf = appendChunkSize(s.buf, len(data))
	s.buf = append(s.buf, data...)
	s.buf = append(s.buf, "\r\n"...)
}

func (s *sender) lastChunk(b exchange.Body) error {
	s.buf = append(s.buf, "0\r\n"...)
	check := headCheck{start: len(s.buf)}
	if t, ok := b.(exchange.Trailered); ok {
		if h := t.Trailer(); h != nil {
			s.buf = check.appendFields(s.buf, h)
		}
	}
	var err error
	s.buf, err = check.finish(s.buf)
	return err
}
