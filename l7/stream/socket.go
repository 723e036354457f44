package stream

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

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
// nothing is in between, said anything. It must not be called while another
// goroutine reads.
func (c *Conn) Alive() bool {
	s := c.below()
	if s == nil {
		return true
	}
	if s.raw.Control(s.probe) != nil {
		return false
	}
	return s.probed == syscall.EAGAIN || s.probed == 0 && s.in.n > 0 && s != c
}

// tryPeek looks for a byte without taking it.
func (c *Conn) tryPeek(fd uintptr) {
	c.in.n, c.probed = peek(fd, c.first[:])
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
		if errors.Is(err, syscall.EAGAIN) {
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
