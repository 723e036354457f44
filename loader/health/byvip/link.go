package byvip

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// link is the packet sockets: one that sends, and one for answers of each
// family.
type link struct {
	out   int
	in    []*os.File
	mu    sync.Mutex // of closed, so that no frame goes out by another's descriptor
	ended bool
}

func openLink() (*link, error) {
	l := &link{}
	var err error
	if l.out, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	for _, family := range []struct {
		protocol uint16
		filter   []bpf.Instruction
	}{{unix.ETH_P_IP, filter4()}, {unix.ETH_P_IPV6, filter6()}} {
		f, err := listen(family.protocol, family.filter)
		if err != nil {
			l.close()
			return nil, err
		}
		l.in = append(l.in, f)
	}
	return l, nil
}

// listen opens a socket that gets IP packets which pass the filter, from its
// first one on: it is bound only when it has the filter.
func listen(protocol uint16, filter []bpf.Instruction) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	raw, err := bpf.Assemble(filter)
	if err == nil {
		program := make([]unix.SockFilter, len(raw))
		for i, x := range raw {
			program[i] = unix.SockFilter{Code: x.Op, Jt: x.Jt, Jf: x.Jf, K: x.K}
		}
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol>>8 | protocol<<8})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare a packet socket: %w", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "packet"), nil
}

// snap is how much of an answer is read: both headers, the longest of IPv4.
const snap = 128

// filter4 takes first fragments of TCP to the probes' ports that have ACK and
// either SYN or RST.
func filter4() []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoTCP, SkipFalse: 9},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 7},
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: firstPort, SkipTrue: 4},
		bpf.LoadIndirect{Off: 13, Size: 1},
	}, flags()...)
}

// filter6 does the same for IPv6 without extension headers, which no host adds
// to a SYN-ACK by itself.
func filter6() []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoTCP, SkipFalse: 6},
		bpf.LoadAbsolute{Off: 40 + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: firstPort, SkipTrue: 4},
		bpf.LoadAbsolute{Off: 40 + 13, Size: 1},
	}, flags()...)
}

// flags end a filter with those of a segment in the accumulator.
func flags() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: ack, SkipFalse: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: syn | rst, SkipFalse: 1},
		bpf.RetConstant{Val: snap},
		bpf.RetConstant{Val: 0},
	}
}

// receive calls deliver with each answer until the link is closed.
func (l *link) receive(deliver func(answer)) {
	var reading sync.WaitGroup
	defer reading.Wait()
	for _, f := range l.in {
		reading.Go(func() {
			b := make([]byte, snap)
			for {
				n, err := f.Read(b)
				if errors.Is(err, os.ErrClosed) {
					return
				}
				if a, is := parse(b[:max(n, 0)]); err == nil && is {
					deliver(a)
				}
			}
		})
	}
}

// send sends a frame by an interface.
func (l *link) send(ifindex int, frame []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return os.ErrClosed
	}
	if err := unix.Sendto(l.out, frame, 0, &unix.SockaddrLinklayer{Ifindex: ifindex}); err != nil {
		return fmt.Errorf("send by interface %d: %w", ifindex, err)
	}
	return nil
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.ended = true
	_ = unix.Close(l.out)
	for _, f := range l.in {
		_ = f.Close()
	}
}
