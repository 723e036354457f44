package syn

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Ports that answers come to; probers share none. No socket of this host has
// them unless net.ipv4.ip_local_port_range was changed: it ends at 60999.
const (
	FirstDirectPort = 61000 // of a Prober, as far as LastDirectPort
	LastDirectPort  = 63487
	FirstVIPPort    = 63488 // of probes by VIP, as far as LastVIPPort
	LastVIPPort     = 65535
)

// Ear is packet sockets, one for each family, that hear answers to some ports.
type Ear struct{ in []*os.File }

// Listen opens them for the ports from first to last; that needs CAP_NET_RAW.
func Listen(first, last uint16) (*Ear, error) {
	e := &Ear{}
	for _, family := range []struct {
		protocol uint16
		filter   []bpf.Instruction
	}{{unix.ETH_P_IP, filter4(first, last)}, {unix.ETH_P_IPV6, filter6(first, last)}} {
		f, err := listen(family.protocol, family.filter)
		if err != nil {
			e.Close()
			return nil, err
		}
		e.in = append(e.in, f)
	}
	return e, nil
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
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, roomBytes)
	return os.NewFile(uintptr(fd), "packet"), nil
}

const (
	snap = 128 // bytes of an answer that are read: both headers, the longest of IPv4
	// Answers that come within a pause are read together. So many at most, so
	// that who floods these ports costs little.
	pause  = 5 * time.Millisecond
	atOnce = 256
	room   = 4096 // answers that may wait
	// The kernel counts about 800 bytes for each.
	roomBytes = room * 800
)

// filter4 takes first fragments of TCP to the ports that have ACK and either
// SYN or RST.
func filter4(first, last uint16) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: ProtoTCP, SkipFalse: 10},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 8},
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(first), SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: uint32(last), SkipTrue: 4},
		bpf.LoadIndirect{Off: 13, Size: 1},
	}, flags()...)
}

// filter6 does the same for IPv6 without extension headers, which no host adds
// to a SYN-ACK by itself.
func filter6(first, last uint16) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: ProtoTCP, SkipFalse: 7},
		bpf.LoadAbsolute{Off: 40 + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: uint32(first), SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: uint32(last), SkipTrue: 4},
		bpf.LoadAbsolute{Off: 40 + 13, Size: 1},
	}, flags()...)
}

// flags end a filter with those of a segment in the accumulator.
func flags() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: ACK, SkipFalse: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: SYN | RST, SkipFalse: 1},
		bpf.RetConstant{Val: snap},
		bpf.RetConstant{Val: 0},
	}
}

// Receive calls deliver with each answer until the ear is closed.
func (e *Ear) Receive(deliver func(Answer)) {
	var reading sync.WaitGroup
	defer reading.Wait()
	for _, f := range e.in {
		reading.Go(func() {
			for drain(f, true, atOnce, deliver) == nil {
				time.Sleep(pause)
			}
		})
	}
}

// Drain calls deliver with each answer that has come and is not read yet.
func (e *Ear) Drain(deliver func(Answer)) {
	for _, f := range e.in {
		_ = drain(f, false, room, deliver)
	}
}

// drain reads so many answers at most. It fails when the socket is closed.
func drain(f *os.File, wait bool, most int, deliver func(Answer)) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var buffer [snap]byte
	read := func(fd uintptr) (some bool) {
		for range most {
			n, err := unix.Read(int(fd), buffer[:])
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			some = true
			if a, is := Parse(buffer[:max(n, 0)]); is {
				deliver(a)
			}
		}
		return some
	}
	if wait {
		return raw.Read(read)
	}
	return raw.Control(func(fd uintptr) { read(fd) })
}

// Close ends Receive.
func (e *Ear) Close() {
	for _, f := range e.in {
		_ = f.Close()
	}
}
