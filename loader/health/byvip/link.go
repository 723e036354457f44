package byvip

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"weir/loader/health/syn"
)

// link is the packet socket that sends, and what hears answers.
type link struct {
	out   int
	ear   *syn.Ear
	mu    sync.Mutex // of closed, so that no frame goes out by another's descriptor
	ended bool
}

func openLink() (*link, error) {
	out, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	ear, err := syn.Listen(syn.FirstVIPPort, syn.LastVIPPort)
	if err != nil {
		_ = unix.Close(out)
		return nil, err
	}
	return &link{out: out, ear: ear}, nil
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
	l.ear.Close()
}
