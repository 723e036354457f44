package h1

import (
	"bytes"
	"io"
	"time"

	"weir/l7/stream"
)

// Sizes of buffers, bytes.
const (
	smallBuffer = 4 << 10  // a head, and the body that comes with it
	largeBuffer = 64 << 10 // streaming
	lineLimit   = 8 << 10  // a request line, as nginx's large_client_header_buffers
	spliceFrom  = 64 << 10 // bodies below it are not worth a pipe
)

// reader is what comes in by a connection. buf[:base] are the heads of the
// exchange under way and stay where they are; buf[r:w] was received and not
// yet read.
type reader struct {
	conn    *stream.Conn
	buf     []byte
	base    int
	r, w    int
	timeout time.Duration // for a read of a body to bring anything
}

func (rd *reader) start(buf []byte, n int) { rd.buf, rd.base, rd.r, rd.w = buf, 0, 0, n }

func (rd *reader) pending() []byte { return rd.buf[rd.r:rd.w] }

// took moves past n bytes of a head, which stay.
func (rd *reader) took(n int) {
	rd.r += n
	rd.base = rd.r
}

// fill receives more into the buffer, which it makes room in first.
func (rd *reader) fill() error {
	if rd.r == rd.w {
		rd.r, rd.w = rd.base, rd.base
	}
	if len(rd.buf)-rd.w < smallBuffer/4 {
		rd.makeRoom()
	}
	n, err := rd.conn.Read(rd.buf[rd.w:])
	rd.w += n
	if n > 0 {
		return nil
	}
	return err
}

func (rd *reader) makeRoom() {
	size := len(rd.buf)
	if free := size - rd.base; free >= size/2 && rd.w-rd.r < free/2 {
		rd.w = rd.base + copy(rd.buf[rd.base:], rd.pending())
		rd.r = rd.base
		return
	}
	if rd.w-rd.r >= size/2 {
		size *= 2
	}
	buf := make([]byte, size) // the head keeps the old one
	rd.w = copy(buf, rd.pending())
	rd.buf, rd.base, rd.r = buf, 0, 0
}

// patient renews the time that a read of a body has.
func (rd *reader) patient() { rd.conn.ReadWithin(time.Now(), rd.timeout) }

// read gives bytes of a body: what is there, else what comes next, straight
// into p if that is large.
func (rd *reader) read(p []byte) (int, error) {
	if rd.r == rd.w {
		rd.patient()
		if len(p) >= smallBuffer {
			return rd.conn.Read(p)
		}
		if err := rd.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, rd.pending())
	rd.r += n
	return n, nil
}

// awaitHead receives until the buffer holds the end of a head.
func (rd *reader) awaitHead(limit int) error {
	scanned := 0
	for {
		done, at, err := scanHead(rd.pending(), scanned)
		if done || err != nil {
			return err
		}
		scanned = at
		if n := rd.w - rd.r; n >= limit || scanned == 0 && n >= lineLimit {
			if scanned == 0 {
				return errTarget
			}
			return errHead
		}
		if err := rd.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
}

// scanHead looks for an empty line in b, which has none that ends before from.
// at is where to go on when there is more.
func scanHead(b []byte, from int) (done bool, at int, err error) {
	at = from
	for {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return false, at, nil
		}
		if i == 0 || b[at+i-1] != '\r' {
			return false, at, errBareLF
		}
		if i == 1 && at > len("\r\n") {
			return true, at, nil
		}
		at += i + 1
	}
}
