// Package byvip finds out whether a backend answers at a VIP: it sends a SYN to
// the VIP as frames of a client reach that backend, by the backend's next hop
// and in its tunnel, and awaits the answer.
//
// The kernel cannot send such a packet: to it the VIP is an address of this host
// or of the network, not of one of several backends. So frames are made here,
// and answers are read beside the kernel, which refuses them as they belong to
// no socket of its own.
package byvip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"weir/loader/health/syn"
	"weir/loader/lb"
)

const ports = syn.LastVIPPort - syn.FirstVIPPort + 1

// Errors that callers tell apart.
var (
	ErrRefused = errors.New("refused")                       // the backend has the VIP, but nobody listens
	ErrLocal   = errors.New("this host cannot probe by VIP") // says nothing of the backend
)

// Options are what a Prober needs. Both functions may be called from any
// goroutine.
type Options struct {
	Hop    func(netip.Addr) lb.NextHop
	Tunnel func() lb.Tunnel
}

// Prober sends SYNs and hears answers while it runs. Its methods may be called
// from any goroutine.
type Prober struct {
	opts   Options
	wanted chan struct{} // gets a value when somebody wants the link
	ready  chan struct{} // closed when there is one, or a fault
	link   *link
	fault  error // why there is none

	mu      sync.Mutex
	next    int
	waiting map[uint16]*probe
}

// probe is a SYN that waits for its answer.
type probe struct {
	vip    netip.AddrPort
	seq    uint32
	answer chan syn.Answer
}

// New makes a prober; nothing is opened before Run.
func New(o Options) *Prober {
	return &Prober{
		opts: o, wanted: make(chan struct{}, 1), ready: make(chan struct{}),
		waiting: map[uint16]*probe{}, next: rand.IntN(ports),
	}
}

// Run hears answers until ctx ends; it is called once. Sockets are opened for
// the first probe. What hinders that is an error of the probes, not of Run:
// checks that go another way need none of it.
func (p *Prober) Run(ctx context.Context) error {
	select {
	case <-p.wanted:
	case <-ctx.Done():
		return nil
	}
	p.link, p.fault = openLink()
	close(p.ready)
	if p.fault != nil {
		<-ctx.Done()
		return nil
	}
	stop := context.AfterFunc(ctx, p.link.close)
	defer stop()
	p.link.ear.Receive(p.deliver)
	<-ctx.Done()
	return nil
}

// Reach returns nil when the backend accepts a connection to the VIP that is
// forwarded in this way, soon after ctx has ended at the latest.
func (p *Prober) Reach(ctx context.Context, vip netip.AddrPort, backend netip.Addr, forward lb.Forward) error {
	select {
	case p.wanted <- struct{}{}:
	default:
	}
	select {
	case <-p.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.fault != nil {
		return fmt.Errorf("%w: %w", ErrLocal, p.fault)
	}
	hop := p.opts.Hop(backend)
	if !hop.Resolved() {
		// Soon there is one, or what had one keeps it while it does not answer.
		return fmt.Errorf("%w: no next hop to %s is known yet", ErrLocal, backend)
	}
	source, err := syn.SourceFor(backend)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLocal, err)
	}
	way := way{hop: hop, backend: backend, forward: forward, tunnel: p.opts.Tunnel()}
	pr := &probe{vip: vip, seq: rand.Uint32(), answer: make(chan syn.Answer, 1)}
	port, err := p.enter(pr)
	if err != nil {
		return err
	}
	defer p.leave(port)
	return p.exchange(ctx, pr, way, netip.AddrPortFrom(source, port))
}

// again is how long an answer is awaited before the SYN is sent once more: one
// lost packet is no failure.
const again = 250 * time.Millisecond

func (p *Prober) exchange(ctx context.Context, pr *probe, w way, from netip.AddrPort) error {
	resend := time.NewTicker(again)
	defer resend.Stop()
	for {
		if err := p.link.send(w.hop.IfIndex, w.frame(syn.Segment{From: from, To: pr.vip, Seq: pr.seq, Flags: syn.SYN})); err != nil {
			return fmt.Errorf("%w: %w", ErrLocal, err)
		}
		select {
		case a := <-pr.answer:
			if a.Flags&syn.RST != 0 {
				return ErrRefused
			}
			// The backend need not wait for the rest of a handshake. If this is
			// lost, it finds out by itself.
			_ = p.link.send(w.hop.IfIndex, w.frame(syn.Segment{From: from, To: pr.vip, Seq: a.Ack, Flags: syn.RST}))
			return nil
		case <-resend.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// enter gives a probe a port.
func (p *Prober) enter(pr *probe) (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range ports {
		p.next = (p.next + 1) % ports
		port := uint16(syn.FirstVIPPort + p.next)
		if p.waiting[port] == nil {
			p.waiting[port] = pr
			return port, nil
		}
	}
	return 0, fmt.Errorf("%w: %d probes are under way", ErrLocal, ports)
}

func (p *Prober) leave(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, port)
}

// deliver hands an answer to the probe that it is for; of others, such as late
// ones, nothing comes.
func (p *Prober) deliver(a syn.Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr := p.waiting[a.To.Port()]
	if pr == nil || pr.vip != a.From || a.Ack != pr.seq+1 {
		return
	}
	select {
	case pr.answer <- a:
	default: // the second answer to a SYN that was sent again
	}
}
