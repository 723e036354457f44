package controltest

import (
	"context"
	"net/netip"
	"slices"
	"sync"

	"weir/loader/lb"
)

// Hops is a resolver that knows what it is told.
type Hops struct {
	mu      sync.Mutex
	known   map[netip.Addr]lb.NextHop
	vlans   []lb.VLAN
	asked   []netip.Addr
	asking  chan struct{} // closed and replaced at each Resolve
	changes chan struct{}
	probes  chan netip.Addr
}

// NewHops returns a resolver that knows the next hop of these addresses.
func NewHops(known ...netip.Addr) *Hops {
	h := &Hops{known: map[netip.Addr]lb.NextHop{}, asking: make(chan struct{}), changes: make(chan struct{}, 1), probes: make(chan netip.Addr, 64)}
	h.Learn(known...)
	return h
}

// Learn adds next hops and announces the change.
func (h *Hops) Learn(addrs ...netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range addrs {
		b := a.As16()
		h.known[a] = lb.NextHop{IfIndex: 2, SrcMAC: [6]byte{2}, DstMAC: [6]byte{2, 0, 0, 0, b[14], b[15]}, MTU: 1500}
	}
	h.announce()
}

// Forget removes next hops and announces the change.
func (h *Hops) Forget(addrs ...netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range addrs {
		delete(h.known, a)
	}
	h.announce()
}

func (h *Hops) announce() {
	select {
	case h.changes <- struct{}{}:
	default:
	}
}

// Resolve answers what it was told.
func (h *Hops) Resolve(addrs []netip.Addr) (map[netip.Addr]lb.NextHop, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = slices.Clone(addrs)
	close(h.asking)
	h.asking = make(chan struct{})
	all := map[netip.Addr]lb.NextHop{}
	for _, a := range addrs {
		if hop, ok := h.known[a]; ok {
			all[a] = hop
		}
	}
	return all, nil
}

// AwaitAsked returns when the last Resolve was for an address among others, or
// with ctx's error.
func (h *Hops) AwaitAsked(ctx context.Context, a netip.Addr) error {
	for {
		h.mu.Lock()
		asked, asking := slices.Contains(h.asked, a), h.asking
		h.mu.Unlock()
		if asked {
			return nil
		}
		select {
		case <-asking:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// SetVLANs makes these the interfaces that tag and announces the change.
func (h *Hops) SetVLANs(vlans ...lb.VLAN) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.vlans = vlans
	h.announce()
}

// VLANs are those that SetVLANs said.
func (h *Hops) VLANs() []lb.VLAN {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.vlans
}

// Reason blames the neighbour.
func (h *Hops) Reason(a netip.Addr) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.known[a]; ok {
		return ""
	}
	return "neighbour " + a.String() + " does not answer"
}

// Changes follows Learn and Forget.
func (h *Hops) Changes() <-chan struct{} { return h.changes }

// Probe notes the address, for Probes.
func (h *Hops) Probe(a netip.Addr) { h.probes <- a }

// Probes delivers what Probe was called with.
func (h *Hops) Probes() <-chan netip.Addr { return h.probes }

// Run waits for ctx: there is nothing to follow.
func (h *Hops) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
