package health

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a connected, non-blocking socket. Reads and writes end with an
// error soon after the context that it was opened with has.
//
// It is made by hand because a probe is most of what the process does when
// there are thousands: package net asks the kernel twice as much for each
// connection.
type conn struct {
	*os.File
	network string
	remote  netip.AddrPort
	stop    func() bool
	heard   atomic.Bool // bytes came
	ended   atomic.Bool // the peer closed or reset it
}

// past ends reads and writes that are under way.
var past = time.Unix(1, 0)

// dial connects to an address, "tcp" or "udp".
func dial(ctx context.Context, network string, to netip.AddrPort) (*conn, error) {
	fd, done, err := begin(network, to)
	if err != nil {
		return nil, failed("connect", err, ReasonUnreachable)
	}
	c := &conn{File: os.NewFile(uintptr(fd), network), network: network, remote: to}
	c.stop = context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })
	if done {
		return c, nil
	}
	if err := c.await(); err != nil {
		c.Close()
		return nil, failed("connect", err, ReasonUnreachable)
	}
	return c, nil
}

// reach finds out whether a TCP connection is accepted.
func reach(ctx context.Context, to netip.AddrPort) error {
	fd, done, err := begin("tcp", to)
	if err != nil {
		return failed("connect", err, ReasonUnreachable)
	}
	if done {
		return unix.Close(fd)
	}
	c := &conn{File: os.NewFile(uintptr(fd), "tcp"), remote: to}
	c.stop = context.AfterFunc(ctx, func() { _ = c.SetDeadline(past) })
	defer c.Close()
	if err := c.await(); err != nil {
		return failed("connect", err, ReasonUnreachable)
	}
	return nil
}

// begin opens a socket and starts to connect it; done says that it is.
func begin(network string, to netip.AddrPort) (fd int, done bool, err error) {
	fd, err = socket(network, to.Addr())
	if err != nil {
		return -1, false, &Failure{Reason: ReasonLocal, Doing: "open a socket", Err: err}
	}
	done, err = connect(fd, to)
	if err != nil {
		_ = unix.Close(fd)
		return -1, false, err
	}
	return fd, done, nil
}

func socket(network string, to netip.Addr) (int, error) {
	family, kind := unix.AF_INET6, unix.SOCK_STREAM
	if to.Is4() {
		family = unix.AF_INET
	}
	if network == "udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil || kind == unix.SOCK_DGRAM {
		return fd, err
	}
	// Closing resets the connection, so that thousands of probes leave no
	// TIME_WAIT behind.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// connect starts to connect a socket, or asks how far that is.
func connect(fd int, to netip.AddrPort) (done bool, err error) {
	err = unix.Connect(fd, sockaddr(to))
	if errors.Is(err, unix.EINPROGRESS) {
		err = unix.Connect(fd, sockaddr(to)) // near hosts have answered by now
	}
	switch {
	case err == nil, errors.Is(err, unix.EISCONN):
		return true, nil
	case errors.Is(err, unix.EALREADY):
		return false, nil
	}
	return false, err
}

func sockaddr(to netip.AddrPort) unix.Sockaddr {
	if to.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
}

// await waits until the socket is connected.
func (c *conn) await() error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var outcome error
	err = raw.Write(func(fd uintptr) bool {
		var done bool
		done, outcome = connect(int(fd), c.remote)
		return done || outcome != nil
	})
	if err != nil {
		return err
	}
	return outcome
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	if n > 0 {
		c.heard.Store(true)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
		c.ended.Store(true)
	}
	return n, err
}

// orEnd is io.EOF in place of what a protocol's code made of it that the peer
// ended the connection without a word.
func (c *conn) orEnd(err error) error {
	if c.ended.Load() && !c.heard.Load() {
		return io.EOF
	}
	return err
}

func (c *conn) Close() error {
	c.stop()
	return c.File.Close()
}

// LocalAddr is not asked of the kernel: nothing uses it.
func (c *conn) LocalAddr() net.Addr  { return addr{network: c.network} }
func (c *conn) RemoteAddr() net.Addr { return addr{c.network, c.remote} }

type addr struct {
	network string
	netip.AddrPort
}

func (a addr) Network() string { return a.network }
