// Package controltest holds a data plane and a resolver in memory, for tests
// of what stands on package control.
package controltest

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"weir/loader/lb"
)

// DataPlane keeps what it is given. Tests set what it shall answer through
// its methods, at any time.
type DataPlane struct {
	mu       sync.Mutex
	state    lb.State
	applies  int
	applyErr error
	sweepErr error
	sweeps   int
	counters lb.Counters
	flows    map[lb.FlowKey]lb.Flow
	streams  map[*stream]struct{}
	samples  []uint32
	changed  chan struct{} // closed and replaced at each change
}

type stream struct {
	sample uint32
	in     chan lb.Event
}

// NewDataPlane returns one that holds nothing.
func NewDataPlane() *DataPlane {
	return &DataPlane{flows: map[lb.FlowKey]lb.Flow{}, streams: map[*stream]struct{}{}, changed: make(chan struct{})}
}

func (d *DataPlane) wake() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Await returns when cond holds, or with ctx's error. cond runs each time
// something changed; it may call the other methods.
func (d *DataPlane) Await(ctx context.Context, cond func() bool) error {
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Apply keeps the state, or fails as FailApply said.
func (d *DataPlane) Apply(s lb.State) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.wake()
	d.applies++
	if d.applyErr != nil {
		return d.applyErr
	}
	d.state = s
	return nil
}

// FailApply makes each Apply fail until it is called with nil.
func (d *DataPlane) FailApply(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.applyErr = err
}

// State is the last that was applied, and Applies how often Apply ran.
func (d *DataPlane) State() lb.State {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state
}

// Applies counts the calls of Apply, those that failed included.
func (d *DataPlane) Applies() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.applies
}

// Sweep reports the flows that are there.
func (d *DataPlane) Sweep() (lb.FlowUse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.wake()
	d.sweeps++
	use := lb.FlowUse{Slots: 1 << 20, ByState: map[string]uint64{}}
	for _, f := range d.flows {
		use.ByState[f.State]++
	}
	return use, d.sweepErr
}

// FailSweep makes each Sweep fail until it is called with nil.
func (d *DataPlane) FailSweep(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweepErr = err
}

// Sweeps counts the calls of Sweep.
func (d *DataPlane) Sweeps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sweeps
}

// SetCounters says what Counters answers.
func (d *DataPlane) SetCounters(c lb.Counters) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counters = c
}

// Counters answers what SetCounters was given.
func (d *DataPlane) Counters() (lb.Counters, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return lb.Counters{Backends: slices.Clone(d.counters.Backends), Reasons: slices.Clone(d.counters.Reasons)}, nil
}

// AddFlow puts a flow into the table.
func (d *DataPlane) AddFlow(k lb.FlowKey, f lb.Flow) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flows[k] = f
}

// Flows yields in order of set and slot.
func (d *DataPlane) Flows(yield func(lb.Flow) bool) error {
	d.mu.Lock()
	all := slices.SortedFunc(maps.Values(d.flows), func(a, b lb.Flow) int {
		return int(a.Set)*8 + int(a.Slot) - int(b.Set)*8 - int(b.Slot)
	})
	d.mu.Unlock()
	for _, f := range all {
		if !yield(f) {
			break
		}
	}
	return nil
}

// FindFlow looks among those of AddFlow.
func (d *DataPlane) FindFlow(k lb.FlowKey) (lb.Flow, bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, ok := d.flows[k]
	return f, ok, nil
}

// Events sends what Emit is given until ctx ends.
func (d *DataPlane) Events(ctx context.Context, sample uint32, out chan<- lb.Event) error {
	s := &stream{sample: sample, in: make(chan lb.Event)}
	d.open(s)
	defer d.close(s)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-s.in:
			select {
			case out <- e:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func (d *DataPlane) open(s *stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.streams[s] = struct{}{}
	d.samples = append(d.samples, s.sample)
	d.wake()
}

func (d *DataPlane) close(s *stream) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.streams, s)
	d.wake()
}

// Samples are the samplings of the streams that are open now.
func (d *DataPlane) Samples() []uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []uint32
	for s := range d.streams {
		all = append(all, s.sample)
	}
	return all
}

// Emit hands an event to each open stream, as the kernel would: flow events
// only to those that sample.
func (d *DataPlane) Emit(ctx context.Context, e lb.Event) error {
	d.mu.Lock()
	open := slices.Collect(maps.Keys(d.streams))
	d.mu.Unlock()
	for _, s := range open {
		if s.sample == 0 && !e.NeedHop {
			continue
		}
		select {
		case s.in <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Info describes a data plane on one interface.
func (d *DataPlane) Info() lb.DataPlaneInfo {
	return lb.DataPlaneInfo{
		PinDir: "/sys/fs/bpf/weir", Layout: 1,
		Attachments: []lb.Attachment{{Interface: "eth0", Mode: "native", LinkID: 7, ProgramID: 8}},
		Maps:        []lb.MapInfo{{Name: "flows", ID: 9, Bytes: 8 << 20}},
	}
}

// Close does nothing.
func (d *DataPlane) Close() error { return nil }

// Hops is a resolver that knows what it is told.
type Hops struct {
	mu      sync.Mutex
	known   map[netip.Addr]lb.NextHop
	asked   []netip.Addr
	changes chan struct{}
	probes  chan netip.Addr
}

// NewHops returns a resolver that knows the next hop of these addresses.
func NewHops(known ...netip.Addr) *Hops {
	h := &Hops{known: map[netip.Addr]lb.NextHop{}, changes: make(chan struct{}, 1), probes: make(chan netip.Addr, 64)}
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
	all := map[netip.Addr]lb.NextHop{}
	for _, a := range addrs {
		if hop, ok := h.known[a]; ok {
			all[a] = hop
		}
	}
	return all, nil
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
