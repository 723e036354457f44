package h1

import (
	"bytes"
	"errors"
	"os"
	"time"

	"weir/l7/exchange"
	"weir/l7/stream"
)

// Sizes of buffers, bytes.
const (
	smallBuffer = 4 << 10  // a head, and the body that comes with it
	largeBuffer = 32 << 10 // streaming; each peer that reads slowly holds one
	lineLimit   = 8 << 10  // a request line, as nginx's large_client_header_buffers
	spliceFrom  = 64 << 10 // bodies below it are not worth a pipe
)

// reader is what comes in by a connection. buf[:base] are the heads of the
// exchange under way and stay where they are; buf[r:w] was received and not
// yet read.
type reader struct {
	conn *stream.Conn
	buf  []byte
	base int
	r, w int

	x       *exchange.Exchange // whose client is asked whether it waits still; nil: nobody waits
	timeout time.Duration      // for a read of a body to bring anything
	rate    int                // bytes per second of a body, after timeout; 0: any
	asked   time.Time          // when the read under way began
	waited  time.Duration      // for the body so far
	got     int64              // bytes of it
}

// askEvery is how often a client whose backend is slow is asked whether it waits
// still.
const askEvery = 2 * time.Second

func (rd *reader) start(buf []byte, n int) {
	rd.buf, rd.base, rd.r, rd.w = buf, 0, 0, n
	rd.waited, rd.got = 0, 0
}

func (rd *reader) pending() []byte { return rd.buf[rd.r:rd.w] }

// took moves past n bytes of a head, which stay.
func (rd *reader) took(n int) {
	rd.r += n
	rd.base = rd.r
}

// fill receives more into the buffer, which it makes room in first. A zero until
// leaves the deadline as it was set.
func (rd *reader) fill(until time.Time) error {
	if rd.r == rd.w {
		rd.r, rd.w = rd.base, rd.base
	}
	if len(rd.buf)-rd.w < smallBuffer/4 {
		rd.makeRoom()
	}
	n, err := rd.receive(rd.buf[rd.w:], until)
	rd.w += n
	if n > 0 {
		return nil
	}
	return err
}

// fillBody is fill for the next piece of a body.
func (rd *reader) fillBody() error {
	before := rd.w - rd.r
	err := rd.fill(rd.bodyUntil())
	rd.piece(rd.w - rd.r - before)
	return err
}

// receive reads into p, and waits for that until a time, or until nobody waits
// for what comes.
func (rd *reader) receive(p []byte, until time.Time) (int, error) {
	if until.IsZero() {
		return rd.conn.Read(p)
	}
	for now := time.Now(); ; {
		left := until.Sub(now)
		if left <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
		if rd.x != nil {
			left = min(left, askEvery)
		}
		rd.conn.ReadWithin(now, left)
		n, err := rd.conn.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || rd.conn.Interrupted() {
			return n, err
		}
		if now = time.Now(); rd.x != nil && now.Before(until) && rd.x.Gone() {
			return 0, errGone
		}
	}
}

// bodyUntil is how long the next piece of a body may take.
func (rd *reader) bodyUntil() time.Time {
	now := time.Now()
	until := now.Add(rd.timeout)
	if rd.x != nil && !rd.x.Deadline.IsZero() && rd.x.Deadline.Before(until) {
		until = rd.x.Deadline
	}
	if rd.rate > 0 {
		due := rd.timeout + time.Duration(rd.got/int64(rd.rate))*time.Second - rd.waited
		if due < rd.timeout {
			until = now.Add(due)
		}
	}
	rd.asked = now
	return until
}

// piece notes that n bytes of a body came. What counts is the time that the
// sender took, and not that which whoever reads has let it wait.
func (rd *reader) piece(n int) {
	rd.got += int64(n)
	if rd.rate > 0 {
		rd.waited += time.Since(rd.asked)
	}
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

// read gives bytes of a body: what is there, else what comes next, straight
// into p if that is large.
func (rd *reader) read(p []byte) (n int, err error) {
	if rd.r == rd.w {
		if len(p) >= smallBuffer {
			n, err = rd.receive(p, rd.bodyUntil())
			rd.piece(n)
			return n, err
		}
		if err := rd.fillBody(); err != nil {
			return 0, err
		}
	}
	n = copy(p, rd.pending())
	rd.r += n
	return n, nil
}

// awaitHead receives until the buffer holds the end of a head.
func (rd *reader) awaitHead(limit int, until time.Time) error {
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
		if err := rd.fill(until); err != nil {
			return cutOff(err)
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
