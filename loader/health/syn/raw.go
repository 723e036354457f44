package syn

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// raw is sockets that send IP packets as they are.
type raw struct {
	mu     sync.RWMutex // of closed: no packet goes out by another's descriptor
	closed bool
	v4, v6 int // v6 is -1 on a host without IPv6
}

func openRaw() (sender, error) {
	v4, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	v6, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
		_ = unix.Close(v4)
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	return &raw{v4: v4, v6: v6}, nil
}

func (r *raw) send(to netip.Addr, packet []byte) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	switch {
	case r.closed:
		return os.ErrClosed
	case to.Is4():
		return unix.Sendto(r.v4, packet, 0, &unix.SockaddrInet4{Addr: to.As4()})
	case r.v6 < 0:
		return unix.EAFNOSUPPORT
	}
	return unix.Sendto(r.v6, packet, 0, &unix.SockaddrInet6{Addr: to.As16()})
}

func (r *raw) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	_ = unix.Close(r.v4)
	if r.v6 >= 0 {
		_ = unix.Close(r.v6)
	}
}

// SourceFor is the address that the kernel would send from.
func SourceFor(to netip.Addr) (netip.Addr, error) {
	family, peer := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: 9, Addr: to.As16()})
	if to.Is4() {
		family, peer = unix.AF_INET, &unix.SockaddrInet4{Port: 9, Addr: to.As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("source address towards %s: %w", to, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Connect(fd, peer); err != nil { // UDP: nothing is sent
		return netip.Addr{}, fmt.Errorf("source address towards %s: %w", to, err)
	}
	own, err := unix.Getsockname(fd)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("source address towards %s: %w", to, err)
	}
	switch own := own.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(own.Addr), nil
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(own.Addr), nil
	}
	return netip.Addr{}, fmt.Errorf("source address towards %s: it is of no family known", to)
}
