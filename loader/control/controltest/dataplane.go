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
	mu         sync.Mutex
	config     lb.Config
	confErr    error
	state      lb.State
	applies    int
	applyErr   error
	sweepErr   error
	sweeps     int
	counters   lb.Counters
	read       []lb.VIP
	troubled   []lb.Troubled
	flows      map[lb.FlowKey]lb.Flow
	streams    map[*stream]struct{}
	samples    []uint32
	captured   []lb.Captured
	captureErr error
	filters    []lb.CaptureFilter
	changed    chan struct{} // closed and replaced at each change
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

// Configure keeps the configuration, or fails as FailConfigure said.
func (d *DataPlane) Configure(c lb.Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.confErr == nil {
		d.config = c
	}
	return d.confErr
}

// FailConfigure makes each Configure fail until it is called with nil.
func (d *DataPlane) FailConfigure(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.confErr = err
}

// Config is the last that Configure took.
func (d *DataPlane) Config() lb.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config
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
	use := lb.FlowUse{Slots: 1 << 20, ByState: map[string]uint64{}, Troubled: d.troubled}
	for _, f := range d.flows {
		use.ByState[f.State]++
	}
	return use, d.sweepErr
}

// SetTroubled says what Sweep finds troubled.
func (d *DataPlane) SetTroubled(all ...lb.Troubled) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.troubled = all
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
	return lb.Counters{Backends: slices.Clone(d.counters.Backends), Services: slices.Clone(d.counters.Services), Reasons: slices.Clone(d.counters.Reasons)}, nil
}

// BackendCounters answers those of SetCounters that are of these VIPs.
func (d *DataPlane) BackendCounters(vips []lb.VIP) []lb.BackendCounters {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.wake()
	d.read = append(d.read, vips...)
	return slices.DeleteFunc(slices.Clone(d.counters.Backends), func(c lb.BackendCounters) bool { return !slices.Contains(vips, c.VIP) })
}

// BackendReads are the VIPs that BackendCounters was asked for.
func (d *DataPlane) BackendReads() []lb.VIP {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.read)
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

// Explain knows the flows of AddFlow, and no program that could disagree.
func (d *DataPlane) Explain(p lb.Probe) (lb.Explanation, error) {
	e := lb.Explanation{Src: p.Src, Dst: p.Dst, Proto: p.Proto.String(), Expected: lb.Outcome{Verdict: "pass", Reason: "not_vip"}}
	if f, known, _ := d.FindFlow(p.FlowKey); known {
		e.Flow, e.VIP = &f, &f.VIP
		e.Backend = &lb.ChosenBackend{ID: f.ID, Endpoint: f.Endpoint, Forward: lb.DSR}
		e.Expected = lb.Outcome{Verdict: "drop", Reason: "no_next_hop"}
	}
	e.Program = e.Expected
	return e, nil
}

// ACL goes by the lists of the state that was applied last.
func (d *DataPlane) ACL(src netip.Addr) (out []lb.ACLVerdict, _ error) {
	s := d.State()
	note := func(vip *lb.VIP, a *lb.ACL) {
		if a != nil {
			r := a.Match(src)
			out = append(out, lb.ACLVerdict{VIP: vip, Prefix: r.Prefix, Deny: r.Deny})
		}
	}
	note(nil, s.ACL)
	for _, service := range s.Services {
		note(&service.Service.VIP, service.Service.ACL)
	}
	return out, nil
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

// Capture sends the packets that SetCaptured was given, once.
func (d *DataPlane) Capture(ctx context.Context, f lb.CaptureFilter) (<-chan lb.Captured, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.captureErr != nil {
		return nil, d.captureErr
	}
	d.filters = append(d.filters, f)
	out, packets := make(chan lb.Captured), slices.Clone(d.captured)
	go func() {
		defer close(out)
		for _, p := range packets {
			select {
			case out <- p:
			case <-ctx.Done():
				return
			}
		}
		<-ctx.Done()
	}()
	return out, nil
}

// SetCaptured says what captures show, or how they fail.
func (d *DataPlane) SetCaptured(packets []lb.Captured, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.captured, d.captureErr = packets, err
}

// Filters are those that captures were asked for.
func (d *DataPlane) Filters() []lb.CaptureFilter {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.filters)
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
