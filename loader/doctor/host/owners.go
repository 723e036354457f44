package host

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/doctor"
)

// How long others get to answer after the last question, which is asked twice.
const (
	ownerWait = 300 * time.Millisecond
	ownerAsks = 2
	ownerPoll = 10 * time.Millisecond
)

// question is one way to ask who has an address.
type question struct {
	etherType uint16
	filter    []unix.SockFilter
	ask       func(from doctor.MAC, target netip.Addr) []byte
	// answer reads a frame: who claims which address.
	answer func(frame []byte) (netip.Addr, doctor.MAC, bool)
}

// Owners asks for addresses, IPv4 by ARP and IPv6 by neighbour discovery.
func (h *Host) Owners(ctx context.Context, l doctor.Link, addrs []netip.Addr) (map[netip.Addr][]doctor.MAC, error) {
	own, err := ownMACs()
	if err != nil {
		return nil, err
	}
	all := map[netip.Addr][]doctor.MAC{}
	is6 := func(a netip.Addr) bool { return a.Is6() }
	is4 := func(a netip.Addr) bool { return a.Is4() }
	for q, mine := range map[*question][]netip.Addr{arp(): slices.DeleteFunc(slices.Clone(addrs), is6), ndp(): slices.DeleteFunc(slices.Clone(addrs), is4)} {
		if len(mine) == 0 {
			continue
		}
		if err := q.run(ctx, l, mine, own, all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ownMACs are those of all interfaces: they may be in one network.
func ownMACs() ([]doctor.MAC, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var all []doctor.MAC
	for _, l := range links {
		if mac := l.Attrs().HardwareAddr; len(mac) == 6 {
			all = append(all, doctor.MAC(mac))
		}
	}
	return all, nil
}

func (q *question) run(ctx context.Context, l doctor.Link, addrs []netip.Addr, own []doctor.MAC, all map[netip.Addr][]doctor.MAC) error {
	fd, err := q.open(l)
	if err != nil {
		return fmt.Errorf("open a packet socket on %s: %w", l.Name, err)
	}
	defer unix.Close(fd)
	for range ownerAsks {
		for _, a := range addrs {
			if err := q.send(fd, l, a); err != nil {
				return fmt.Errorf("ask on %s for %s: %w", l.Name, a, err)
			}
		}
		err := q.collect(ctx, fd, func(a netip.Addr, mac doctor.MAC) {
			if slices.Contains(addrs, a) && !slices.Contains(own, mac) && !slices.Contains(all[a], mac) {
				all[a] = append(all[a], mac)
			}
		})
		if err != nil {
			return fmt.Errorf("listen on %s: %w", l.Name, err)
		}
	}
	return nil
}

func (q *question) open(l doctor.Link) (int, error) {
	// Protocol 0: nothing is received before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(q.filter)), Filter: &q.filter[0]})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(q.etherType), Ifindex: l.Index})
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

func (q *question) send(fd int, l doctor.Link, a netip.Addr) error {
	for {
		err := unix.Sendto(fd, q.ask(l.MAC, a), 0, &unix.SockaddrLinklayer{Protocol: networkOrder(q.etherType), Ifindex: l.Index})
		if err != unix.EAGAIN && err != unix.ENOBUFS {
			return err
		}
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(ownerPoll.Milliseconds())); err != nil && err != unix.EINTR {
			return err
		}
	}
}

// collect reads answers until the wait is over.
func (q *question) collect(ctx context.Context, fd int, claim func(netip.Addr, doctor.MAC)) error {
	frame := make([]byte, 1<<16)
	for end := time.Now().Add(ownerWait); time.Now().Before(end) && ctx.Err() == nil; {
		n, err := unix.Read(fd, frame)
		switch err {
		case nil:
			if a, mac, ok := q.answer(frame[:n]); ok {
				claim(a, mac)
			}
		case unix.EAGAIN, unix.EINTR:
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(ownerPoll.Milliseconds())); err != nil && err != unix.EINTR {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

func networkOrder(v uint16) uint16 { return v<<8 | v>>8 }
