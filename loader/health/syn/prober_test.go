package syn

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// outcomes is a target and what it hears.
func outcomes(to netip.AddrPort) (*Target, chan Outcome) {
	heard := make(chan Outcome, 10)
	return NewTarget(to, func(o Outcome) { heard <- o }), heard
}

func running(t *testing.T) *Prober {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs CAP_NET_RAW")
	}
	p := NewProber()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return p
}

func listener(t *testing.T, at string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// A port that answers is found open again and again, and its server accepts
// nothing meanwhile.
func TestProberFindsOpen(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, p := listener(t, at), running(t)
		target, heard := outcomes(l.Addr().(*net.TCPAddr).AddrPort())
		for range 20 {
			if err := p.Send([]*Target{target}); err != nil {
				t.Fatal(err)
			}
			if o := <-heard; o != Open {
				t.Fatalf("%s: outcome %d", at, o)
			}
		}
		own, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		first, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if first.RemoteAddr().String() != own.LocalAddr().String() {
			t.Errorf("%s: the server accepted a connection from %s", at, first.RemoteAddr())
		}
	}
}

func TestProberFindsNobody(t *testing.T) {
	p := running(t)
	l := listener(t, "127.0.0.1:0")
	to := l.Addr().(*net.TCPAddr).AddrPort()
	l.Close()
	target, heard := outcomes(to)
	if err := p.Send([]*Target{target}); err != nil {
		t.Fatal(err)
	}
	if o := <-heard; o != Refused {
		t.Errorf("outcome %d", o)
	}
}

// sink takes packets and may fail.
type sink struct {
	packets [][]byte
	fault   error
}

func (s *sink) send(_ netip.Addr, packet []byte) error {
	s.packets = append(s.packets, append([]byte(nil), packet...))
	return s.fault
}

func (s *sink) close() {}

func deaf(out *sink) *Prober {
	p := NewProber()
	p.open = func() (*Ear, sender, error) { return &Ear{}, out, nil }
	return p
}

func TestOnlyTheAnswerCounts(t *testing.T) {
	out := &sink{}
	p := deaf(out)
	target, heard := outcomes(netip.MustParseAddrPort("127.0.0.9:80"))
	if err := p.Send([]*Target{target}); err != nil || len(out.packets) != 1 {
		t.Fatalf("sent %d, %v", len(out.packets), err)
	}
	right := Answer{From: target.to, To: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), target.port), Ack: target.seq + 1, Flags: SYN | ACK}
	other, older := right, right
	other.From = netip.AddrPortFrom(target.to.Addr(), 81)
	older.Ack--
	for name, a := range map[string]Answer{"of another port": other, "to an older SYN": older} {
		before := len(out.packets)
		p.deliver(a)
		if len(heard) > 0 {
			t.Fatalf("an answer %s is taken", name)
		}
		if len(out.packets) != before+1 || out.packets[before][20+13] != RST {
			t.Errorf("an answer %s is not reset", name)
		}
	}
	p.deliver(right)
	p.deliver(right)
	if o := <-heard; o != Open {
		t.Errorf("outcome %d", o)
	}
	time.Sleep(2 * Patience)
	if len(heard) > 0 {
		t.Errorf("heard %d more", len(heard))
	}
}

func TestSilence(t *testing.T) {
	for name, out := range map[string]*sink{"lost": {}, "not sent": {fault: errors.New("no route")}} {
		p := deaf(out)
		target, heard := outcomes(netip.MustParseAddrPort("127.0.0.9:80"))
		for range 3 {
			if err := p.Send([]*Target{target}); err != nil {
				t.Fatal(err)
			}
			if o := <-heard; o != Silent {
				t.Errorf("%s: outcome %d", name, o)
			}
		}
		for i, held := range p.byPort {
			if held != nil {
				t.Errorf("%s: port %d is still held", name, FirstDirectPort+i)
			}
		}
	}
}

func TestPortsRunOut(t *testing.T) {
	p := deaf(&sink{})
	targets, heard := make([]*Target, directPorts+1), make(chan Outcome, 2*directPorts)
	for i := range targets {
		targets[i] = NewTarget(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), uint16(i+1)), func(o Outcome) { heard <- o })
	}
	if err := p.Send(targets); err != nil {
		t.Fatal(err)
	}
	for range targets {
		if o := <-heard; o != Silent {
			t.Errorf("outcome %d", o)
		}
	}
}

func TestCannotOpen(t *testing.T) {
	p, fault := NewProber(), errors.New("no CAP_NET_RAW")
	p.open = func() (*Ear, sender, error) { return nil, nil, fault }
	target, heard := outcomes(vip4)
	for range 2 {
		if err := p.Send([]*Target{target}); !errors.Is(err, fault) || len(heard) > 0 {
			t.Errorf("error %v, heard %d", err, len(heard))
		}
	}
}
