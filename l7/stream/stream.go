// Package stream is a connection as the ends of HTTP use it: a net.Conn whose
// reads and writes on a TCP socket skip the scheduler, that waits without a
// buffer, and whose deadlines are cheap to renew.
package stream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// Conn is a connection. One goroutine reads and one writes at a time; Interrupt
// and Close may come from any.
type Conn struct {
	net.Conn
	tcp     *net.TCPConn    // nil: Conn is none
	raw     syscall.RawConn // of tcp
	in      op
	out     op
	readBy  deadline
	writeBy deadline
	stopped atomic.Int32
	probe   func(fd uintptr) // of tryPeek, made once
	probed  syscall.Errno
	first   [1]byte
}

// op is a read or a write under way. Its function is made once, because one
// made for each call would be allocated.
type op struct {
	p      []byte
	n      int
	err    error
	try    func(fd uintptr) (done bool)
	lender Lender
	serve  func(n int) bool // of ReadServe
	ask    []byte           // what Ask has still to write
}

// Lender provides the buffer of a read that may wait for long.
type Lender interface {
	// Lend gives the buffer to read into.
	Lend() []byte
	// Return takes it back, unused.
	Return()
}

// New makes c a Conn, or gives it back if it is one.
func New(c net.Conn) *Conn {
	if s, ok := c.(*Conn); ok {
		return s
	}
	s := &Conn{Conn: c}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return s
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return s // closed already: the first read tells
	}
	s.tcp, s.raw = tcp, raw
	s.in.try, s.out.try, s.probe = s.tryRead, s.tryWrite, s.tryPeek
	return s
}

// TCP is the socket beneath, nil if there is another protocol in between.
func (c *Conn) TCP() *net.TCPConn { return c.tcp }

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if c.raw == nil || len(p) == 0 {
		return c.Conn.Read(p)
	}
	c.in.p = p
	return c.finishRead()
}

// ReadLent reads into a buffer that it borrows only when there is something
// to read. The caller has the buffer if n > 0; else it was returned.
func (c *Conn) ReadLent(l Lender) (n int, err error) { return c.ReadServe(l, nil) }

// ReadServe is ReadLent for peers that mostly say nothing unasked. serve is
// called with what was read, and if it returns true, it has dealt with that and
// returned the buffer: then more is waited for without trying to read first,
// which saves one system call in five of a proxied request. The poller tells of
// all that comes after the read before; only what came together with it may be
// missed, which is an early end of the peer's side. So serve is to set a short
// deadline, after which a ReadServe that begins anew sees that. serve must not
// read from c.
func (c *Conn) ReadServe(l Lender, serve func(n int) bool) (n int, err error) {
	if c.raw == nil {
		if n, err = c.Conn.Read(l.Lend()); n == 0 {
			l.Return()
		}
		return n, err
	}
	c.in.lender, c.in.serve, c.in.p = l, serve, nil
	n, err = c.finishRead()
	c.in.lender, c.in.serve = nil, nil
	return n, err
}

func (c *Conn) finishRead() (int, error) {
	c.in.n, c.in.err = 0, nil
	err := c.raw.Read(c.in.try)
	c.in.p = nil
	if err == nil {
		err = c.in.err
	}
	if c.in.n == 0 && err == nil {
		err = io.EOF
	}
	return c.in.n, err
}

func (c *Conn) tryRead(fd uintptr) bool {
	if len(c.in.ask) > 0 {
		return c.tryAsk(fd)
	}
	if c.in.lender != nil {
		c.in.p = c.in.lender.Lend()
	}
	n, errno := read(fd, c.in.p)
	c.in.n = n
	if c.in.lender != nil && n == 0 {
		c.in.lender.Return()
		c.in.p = nil
	}
	if errno == syscall.EAGAIN {
		return false
	}
	if errno != 0 {
		c.in.err = os.NewSyscallError("read", errno)
	}
	if c.in.serve != nil && n > 0 && n < len(c.in.p) && c.in.serve(n) {
		c.in.n, c.in.p = 0, nil
		return false
	}
	return true
}

// Ask writes request and reads the beginning of the answer into p. It is for
// peers that say nothing unasked: it waits without trying to read first, which
// saves one system call in six of a proxied request. sent tells how much of the
// request went out; err is that of the write if this is not all.
func (c *Conn) Ask(request, p []byte) (sent, n int, err error) {
	if c.raw != nil {
		c.in.p, c.in.ask = p, request
		n, err = c.finishRead()
		sent = len(request) - len(c.in.ask)
		rest := c.in.ask
		c.in.ask = nil
		if len(rest) == 0 || !errors.Is(err, errShort) {
			return sent, n, err
		}
		request = rest
	}
	more, err := c.Write(request)
	sent += more
	if err == nil {
		n, err = c.Read(p)
	}
	return sent, n, err
}

// errShort tells Ask that the socket took a part only.
var errShort = io.ErrShortWrite

// tryAsk writes and has the poller wait: it forgot what it knew about the
// socket before the write, so that the answer cannot be missed.
func (c *Conn) tryAsk(fd uintptr) bool {
	n, errno := write(fd, c.in.ask)
	c.in.ask = c.in.ask[n:]
	switch {
	case errno != 0 && errno != syscall.EAGAIN:
		c.in.err = os.NewSyscallError("write", errno)
		return true
	case len(c.in.ask) > 0:
		c.in.err = errShort
		return true
	}
	return false
}

// Write implements net.Conn. Each 64 KiB have the time of WriteWithin.
// What a peer has not taken in time is dropped.
func (c *Conn) Write(p []byte) (written int, err error) {
	for len(p)-written > spliceStep && err == nil {
		var n int
		n, err = c.write(p[written : written+spliceStep])
		written += n
		c.WriteOn()
	}
	if err == nil {
		var n int
		n, err = c.write(p[written:])
		written += n
	}
	if err != nil {
		c.forsake(err)
	}
	return written, err
}

func (c *Conn) write(p []byte) (int, error) {
	if c.raw == nil || len(p) == 0 {
		return c.Conn.Write(p)
	}
	c.out.p, c.out.n, c.out.err = p, 0, nil
	err := c.raw.Write(c.out.try)
	c.out.p = nil
	if err == nil {
		err = c.out.err
	}
	return c.out.n, err
}

func (c *Conn) tryWrite(fd uintptr) bool {
	for {
		n, errno := write(fd, c.out.p[c.out.n:])
		c.out.n += n
		switch {
		case errno == syscall.EAGAIN:
			return false
		case errno != 0:
			c.out.err = os.NewSyscallError("write", errno)
			return true
		case c.out.n == len(c.out.p):
			return true
		}
	}
}
