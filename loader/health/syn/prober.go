package syn

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Patience is how long an answer is awaited. A connection that gets none waits
// longer, and says why.
const Patience = 100 * time.Millisecond

const directPorts = LastDirectPort - FirstDirectPort + 1

// Outcome is what came of a SYN.
type Outcome uint8

// Outcomes.
const (
	Silent  Outcome = iota // no answer in time; a connection may tell more
	Open                   // a connection would be accepted
	Refused                // nobody listens
)

// Target is an address that is probed again and again.
type Target struct {
	to   netip.AddrPort
	hear func(Outcome)

	source  netip.Addr
	renewed time.Time // when the source is looked up again
	seq     uint32    // guarded by Prober.mu, as is port
	port    uint16    // 0: no SYN is under way
}

// NewTarget makes a target; hear is called once for each SYN, by any goroutine.
func NewTarget(to netip.AddrPort, hear func(Outcome)) *Target {
	return &Target{to: to, hear: hear}
}

// Hear tells the target what came of its SYN.
func (t *Target) Hear(o Outcome) { t.hear(o) }

// Prober sends SYNs by the kernel's routes and hears what answers them. To a
// SYN-ACK that no socket awaits the kernel answers with a RST, so no server ever
// sees a connection. Its methods may be called from any goroutine.
type Prober struct {
	open  func() (*Ear, sender, error)
	once  sync.Once
	ear   *Ear
	out   sender
	fault error

	mu     sync.Mutex
	byPort []*Target
	next   int
}

// sender sends IP packets.
type sender interface {
	send(to netip.Addr, packet []byte) error
	close()
}

// NewProber makes a prober; nothing is opened before it is used.
func NewProber() *Prober {
	return &Prober{open: open, byPort: make([]*Target, directPorts), next: rand.IntN(directPorts)}
}

func open() (*Ear, sender, error) {
	out, err := openRaw()
	if err != nil {
		return nil, nil, err
	}
	ear, err := Listen(FirstDirectPort, LastDirectPort)
	if err != nil {
		out.close()
		return nil, nil, err
	}
	return ear, out, nil
}

// Send sends a SYN to each target; none may have one under way. On an error
// none is sent, and none ever will be.
func (p *Prober) Send(targets []*Target) error {
	p.once.Do(func() {
		if p.ear, p.out, p.fault = p.open(); p.fault == nil {
			go p.ear.Receive(p.deliver)
		}
	})
	if p.fault != nil {
		return p.fault
	}
	now := time.Now()
	sent := make([]sending, 0, len(targets))
	for _, t := range targets {
		if s, ok := p.begin(t, now); ok {
			sent = append(sent, s)
			continue
		}
		t.Hear(Silent)
	}
	p.ear.Drain(p.deliver) // near hosts have answered by now
	time.AfterFunc(Patience, func() { p.expire(sent) })
	return nil
}

// sending is one SYN of a target.
type sending struct {
	target *Target
	port   uint16
	seq    uint32
}

// begin sends a target's SYN.
func (p *Prober) begin(t *Target, now time.Time) (sending, bool) {
	if now.After(t.renewed) {
		source, err := SourceFor(t.to.Addr())
		if err != nil {
			return sending{}, false
		}
		// Routes change, and thousands of targets are not to ask at once.
		t.source, t.renewed = source, now.Add(20*time.Second+rand.N(20*time.Second))
	}
	s, ok := p.enter(t)
	if !ok {
		return sending{}, false
	}
	segment := Segment{From: netip.AddrPortFrom(t.source, s.port), To: t.to, Seq: s.seq, Flags: SYN}
	var buffer [maxPacket]byte
	if p.out.send(t.to.Addr(), segment.AppendPacket(buffer[:0])) != nil {
		return sending{}, !p.leave(s) // who has heard an answer meanwhile needs no other
	}
	return s, true
}

// enter gives a target a port.
func (p *Prober) enter(t *Target) (sending, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range p.byPort {
		p.next = (p.next + 1) % len(p.byPort)
		if p.byPort[p.next] == nil {
			t.port, t.seq = FirstDirectPort+uint16(p.next), rand.Uint32()
			p.byPort[p.next] = t
			return sending{t, t.port, t.seq}, true
		}
	}
	return sending{}, false
}

// leave ends a SYN, and is false if that has ended already.
func (p *Prober) leave(s sending) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.target.port != s.port || s.target.seq != s.seq {
		return false
	}
	p.free(s.target)
	return true
}

func (p *Prober) free(t *Target) {
	p.byPort[t.port-FirstDirectPort] = nil
	t.port = 0
}

// expire ends the SYNs that nobody has answered.
func (p *Prober) expire(sent []sending) {
	looked := false
	for _, s := range sent {
		if !p.underWay(s) {
			continue
		}
		if !looked { // what is late may be this process
			looked = true
			p.ear.Drain(p.deliver)
		}
		if p.leave(s) {
			s.target.renewed = time.Time{}
			s.target.Hear(Silent)
		}
	}
}

func (p *Prober) underWay(s sending) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.target.port == s.port && s.target.seq == s.seq
}

// deliver hands an answer to the target that it is for.
func (p *Prober) deliver(a Answer) {
	t := p.match(a)
	switch {
	case t == nil && a.Flags&SYN != 0:
		// Late, or said again as this host's firewall keeps it from the kernel,
		// which would have reset it.
		var buffer [maxPacket]byte
		_ = p.out.send(a.From.Addr(), Segment{From: a.To, To: a.From, Seq: a.Ack, Flags: RST}.AppendPacket(buffer[:0]))
	case t == nil:
	case a.Flags&RST != 0:
		t.Hear(Refused)
	default:
		t.Hear(Open)
	}
}

func (p *Prober) match(a Answer) *Target {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.byPort[a.To.Port()-FirstDirectPort]
	if t == nil || t.to != a.From || a.Ack != t.seq+1 {
		return nil
	}
	p.free(t)
	return t
}

// Run closes what is open when ctx ends. Targets hear on, of silence.
func (p *Prober) Run(ctx context.Context) error {
	<-ctx.Done()
	p.once.Do(func() { p.fault = ctx.Err() })
	if p.fault == nil {
		p.ear.Close()
		p.out.close()
	}
	return nil
}
