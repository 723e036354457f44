// Package stream is a connection as the ends of HTTP use it: a net.Conn whose
// reads and writes on a TCP socket skip the scheduler, that waits without a
// buffer, and whose deadlines are cheap to renew.
package stream

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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
	s.in.try, s.out.try = s.tryRead, s.tryWrite
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
		if len(rest) == 0 || err != errShort {
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

// Write implements net.Conn. Each 256 KiB have the time of WriteWithin.
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

// CloseWrite tells the peer that nothing follows, if the protocol can.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// forsake has Close drop what was written, if the peer does not take it: the
// kernel would keep it for minutes.
func (c *Conn) forsake(err error) {
	if !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().Before(c.writeBy.at) {
		return // the reason is another, or it is the source of a splice that is late
	}
	if s := c.below(); s != nil {
		_ = s.tcp.SetLinger(0) // if it is closed already, there is nothing to do
	}
}

// RemoteAddrPort is the peer's address, zero if it has none.
func (c *Conn) RemoteAddrPort() netip.AddrPort { return addrPort(c.RemoteAddr()) }

// LocalAddrPort is this side's address, zero if it has none.
func (c *Conn) LocalAddrPort() netip.AddrPort { return addrPort(c.LocalAddr()) }

func addrPort(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// What was stopped.
const (
	stoppedReads  = 1
	stoppedWrites = 2
)

// Interrupt ends reads and writes under way, and all that follow, with
// os.ErrDeadlineExceeded.
func (c *Conn) Interrupt() { c.stop(stoppedReads | stoppedWrites) }

// InterruptReads is Interrupt for reads alone.
func (c *Conn) InterruptReads() { c.stop(stoppedReads) }

func (c *Conn) stop(what int32) {
	what |= c.stopped.Or(what)
	past := time.Unix(1, 0)
	if what&stoppedReads != 0 {
		_ = c.SetReadDeadline(past) // fails only if it is closed, which ends them as well
	}
	if what&stoppedWrites != 0 {
		_ = c.SetWriteDeadline(past)
	}
}

// Interrupted reports whether Interrupt or InterruptReads was called.
func (c *Conn) Interrupted() bool { return c.stopped.Load() != 0 }

// Resume undoes Interrupt, once all that it ended have returned.
func (c *Conn) Resume() {
	if c.stopped.Load() != 0 && c.stopped.Swap(0) != 0 {
		c.readBy, c.writeBy = deadline{}, deadline{}
		_ = c.SetDeadline(time.Time{})
	}
}

// below is the socket that c uses, itself or through another protocol; nil:
// there is none.
func (c *Conn) below() *Conn {
	if c.raw != nil {
		return c
	}
	if t, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
		if s, ok := t.NetConn().(*Conn); ok && s.raw != nil {
			return s
		}
	}
	return nil
}

// Alive reports whether the peer has neither closed the connection nor, where
// nothing is in between, said anything.
func (c *Conn) Alive() bool {
	s := c.below()
	if s == nil {
		return true
	}
	alive := false
	err := s.raw.Control(func(fd uintptr) {
		var p [1]byte
		n, _, err := syscall.Recvfrom(int(fd), p[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		alive = err == syscall.EAGAIN || n > 0 && s != c
	})
	return alive && err == nil
}

// Ended reports whether the peer has closed the connection, or its side of it,
// even if not all was read that it sent before.
func (c *Conn) Ended() bool {
	s := c.below()
	if s == nil {
		return false
	}
	var info *unix.TCPInfo
	err := s.raw.Control(func(fd uintptr) {
		info, _ = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	})
	return err != nil || info == nil || info.State != unix.BPF_TCP_ESTABLISHED
}

// ReadPrefix reads what parse finds at the beginning of what comes and not a
// byte more. parse is given up to most bytes, and says how many are to be
// taken: 0 without an error asks for more.
func (c *Conn) ReadPrefix(most int, parse func([]byte) (int, error)) error {
	if c.raw == nil {
		return errors.New("not a TCP connection")
	}
	buf := make([]byte, most)
	var failed error
	err := c.raw.Read(func(fd uintptr) bool {
		n, _, err := syscall.Recvfrom(int(fd), buf, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err == syscall.EAGAIN {
			return false
		}
		if err != nil || n == 0 {
			failed = cmp.Or(os.NewSyscallError("recv", err), io.ErrUnexpectedEOF)
			return true
		}
		taken, err := parse(buf[:n])
		if failed = err; err != nil {
			return true
		}
		if taken == 0 && n == most {
			failed = fmt.Errorf("no end within %d bytes", most)
			return true
		}
		if taken > 0 {
			_, failed = syscall.Read(int(fd), buf[:taken])
		}
		return taken > 0
	})
	return cmp.Or(err, failed)
}
