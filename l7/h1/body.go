package h1

import (
	"errors"
	"io"
	"sync/atomic"

	"weir/l7/exchange"
	"weir/l7/stream"
)

// body is the body of a message that comes in by a connection.
type body struct {
	rd     *reader
	how    framing
	left   int64        // of a counted one
	count  atomic.Int64 // bytes that were read
	chunks chunks
	err    error        // io.EOF: read whole
	state  atomic.Int32 // as below
	failed atomic.Bool  // err is another than io.EOF
	before func() error // nil, or runs before the first Read: 100 (Continue)
}

const (
	bodyIdle = iota
	bodyReading
	bodyClosed
	bodyCut // closed while it was read
)

// start makes b the body that follows the head which rd has read.
func (b *body) start(rd *reader, how framing, length int64) {
	b.rd, b.how, b.left = rd, how, length
	b.err, b.before = nil, nil
	b.count.Store(0)
	b.failed.Store(false)
	b.chunks.left, b.chunks.state, b.chunks.extra = 0, atSize, 0
	b.chunks.trailer.Reset()
	b.state.Store(bodyIdle)
	if how == noBody {
		b.err = io.EOF
	}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if !b.state.CompareAndSwap(bodyIdle, bodyReading) {
		return 0, errClosed
	}
	n, err := b.read(p)
	if !b.state.CompareAndSwap(bodyReading, bodyIdle) && err == nil {
		err = errClosed
	}
	return n, err
}

func (b *body) read(p []byte) (n int, err error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if before := b.before; before != nil {
		b.before = nil
		if err := before(); err != nil {
			b.err = err
			return 0, err
		}
	}
	switch b.how {
	case chunked:
		n, err = b.readChunked(p)
	case counted:
		n, err = b.rd.read(p[:min(int64(len(p)), b.left)])
		if b.left -= int64(n); b.left == 0 {
			err = io.EOF
		} else if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	default:
		n, err = b.rd.read(p)
	}
	b.err = err
	if err != nil && !errors.Is(err, io.EOF) {
		b.failed.Store(true)
	}
	b.count.Add(int64(n))
	if n > 0 {
		return n, nil
	}
	return n, err
}

func (b *body) readChunked(p []byte) (int, error) {
	for !b.decoded() {
		if b.err != nil {
			return 0, b.err
		}
		if err := b.rd.fillBody(); err != nil {
			return 0, cutOff(err)
		}
	}
	if b.chunks.state == ended {
		return 0, io.EOF
	}
	n := 0
	for {
		piece, err := b.rd.read(p[n:min(int64(len(p)), int64(n)+b.chunks.left)])
		n += piece
		b.chunks.left -= int64(piece)
		if err != nil {
			return n, cutOff(err)
		}
		more := b.decoded()
		if b.chunks.state == ended { // known with the last data, if it is there
			return n, io.EOF
		}
		if !more || n == len(p) || b.rd.r == b.rd.w { // else small chunks become one piece
			return n, b.err
		}
	}
}

func cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// decoded follows the framing through what was received. It reports whether
// that leads to data or the end.
func (b *body) decoded() bool {
	n, err := b.chunks.advance(b.rd.pending())
	b.rd.r += n
	if err != nil {
		b.err = err
		return false
	}
	return b.chunks.state == ended || b.chunks.state == inData
}

// Prompt implements exchange.Prompt.
func (b *body) Prompt() bool {
	if b.err != nil {
		return true
	}
	if b.before != nil {
		return false
	}
	if b.how == chunked && (!b.decoded() || b.chunks.state == ended) {
		return b.err != nil || b.chunks.state == ended
	}
	return b.rd.r < b.rd.w
}

// Received reports whether all of a body of a known length is there, so that
// reading it waits for nothing.
func (b *body) Received() bool {
	return errors.Is(b.err, io.EOF) || b.before == nil && b.how == counted && int64(b.rd.w-b.rd.r) >= b.left
}

// Trailer implements exchange.Trailered.
func (b *body) Trailer() *exchange.Header {
	if b.chunks.state != ended || b.chunks.trailer.Len() == 0 {
		return nil
	}
	return &b.chunks.trailer
}

// WriteTo implements io.WriterTo: from socket to socket inside the kernel where
// both are plain and the length is known.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	to, ok := w.(*stream.Conn)
	if !ok || to.TCP() == nil || !b.plain() {
		return io.Copy(w, struct{ io.Reader }{b})
	}
	return b.splice(to)
}

// plain reports whether the body's bytes are those of a socket.
func (b *body) plain() bool { return b.how == counted && b.rd.conn.TCP() != nil }

func (b *body) splice(to *stream.Conn) (sent int64, err error) {
	if !b.state.CompareAndSwap(bodyIdle, bodyReading) {
		return 0, errClosed
	}
	defer func() {
		b.count.Add(sent)
		b.state.CompareAndSwap(bodyReading, bodyIdle)
	}()
	if pending := b.rd.pending(); len(pending) > 0 {
		n, err := to.Write(pending[:min(int64(len(pending)), b.left)])
		sent = int64(n)
		b.rd.r += n
		b.left -= sent
		if err != nil {
			return sent, err
		}
	}
	n, err := stream.Splice(to, b.rd.conn, b.left, b.rd.bodyUntil)
	b.left -= n
	if b.left == 0 {
		b.err = io.EOF
	} else if err == nil {
		err = io.ErrUnexpectedEOF
		b.err = err
	}
	return sent + n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	for !b.stop() && b.state.Load() != bodyCut {
		if b.state.CompareAndSwap(bodyReading, bodyCut) {
			b.rd.conn.Interrupt()
		}
	}
	return nil
}

// stop makes further reads fail, and reports whether none is under way: then
// the body is the caller's.
func (b *body) stop() bool {
	return b.state.CompareAndSwap(bodyIdle, bodyClosed) || b.state.Load() == bodyClosed
}

// whole reports whether all of it was read.
func (b *body) whole() bool { return errors.Is(b.err, io.EOF) }
