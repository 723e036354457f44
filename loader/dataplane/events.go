package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/perf"
	"golang.org/x/sys/unix"

	"weir/bpf"
	"weir/loader/lb"
)

// perfBuffer is each CPU's event buffer in bytes: about 2,500 events.
const perfBuffer = 256 << 10

var eventNames = map[bpf.WeirEventKind]string{
	bpf.WeirEventKindEVENT_FLOW_NEW:     "flow-new",
	bpf.WeirEventKindEVENT_FLOW_CLOSED:  "flow-closed",
	bpf.WeirEventKindEVENT_DROP:         "drop",
	bpf.WeirEventKindEVENT_NO_NEIGHBOUR: "no-neighbour",
}

// Events sends the program's events to out until ctx ends; one in `sample`
// flow events and drops, or none if sample is 0. A full channel loses events
// and says how many. Only one call may run at a time.
func (d *DataPlane) Events(ctx context.Context, sample uint32, out chan<- lb.Event) (err error) {
	if !d.listening.TryLock() {
		return errors.New("read events: the stream already has a reader")
	}
	defer d.listening.Unlock()
	reader, err := perf.NewReader(d.maps.Events, perfBuffer)
	if err != nil {
		return fmt.Errorf("open the event stream: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = reader.Close() })
	defer func() {
		if stop() {
			_ = reader.Close()
		}
	}()
	if err := d.setEvents(sample); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.setEvents(0)) }()
	clock := bootOffset()
	for {
		record, err := reader.Read()
		switch {
		case errors.Is(err, perf.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("read events: %w", err)
		}
		event, ok := d.decode(record, clock)
		if !ok {
			continue
		}
		select {
		case out <- event:
		case <-ctx.Done():
			return nil
		}
	}
}

// setEvents tells the program what to send.
func (d *DataPlane) setEvents(sample uint32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sample = sample
	return d.writeEvents(d.program)
}

func (d *DataPlane) writeEvents(p *bpf.WeirObjects) error {
	on := uint32(1) << bpf.WeirEventKindEVENT_NO_NEIGHBOUR
	if d.sample > 0 {
		on |= 1<<bpf.WeirEventKindEVENT_FLOW_NEW | 1<<bpf.WeirEventKindEVENT_FLOW_CLOSED | 1<<bpf.WeirEventKindEVENT_DROP
	}
	if err := errors.Join(p.EventSample.Set(max(1, d.sample)), p.EventsOn.Set(on)); err != nil {
		return fmt.Errorf("switch events: %w", err)
	}
	return nil
}

// decode turns a record into an event. The kernel pads records to 8 bytes.
func (d *DataPlane) decode(r perf.Record, clock time.Time) (lb.Event, bool) {
	if r.LostSamples > 0 {
		return lb.Event{Time: time.Now(), Kind: "lost", Message: fmt.Sprintf("%d events lost: the reader was too slow", r.LostSamples)}, true
	}
	if len(r.RawSample) < int(unsafe.Sizeof(bpf.WeirEvent{})) {
		return lb.Event{}, false
	}
	raw := (*bpf.WeirEvent)(unsafe.Pointer(&r.RawSample[0]))
	e := lb.Event{
		Time:    clock.Add(time.Duration(raw.Time)),
		Kind:    eventNames[bpf.WeirEventKind(raw.Kind)],
		Src:     netip.AddrPortFrom(addrOf(raw.Src.Word), wirePort(raw.Sport)),
		Dst:     netip.AddrPortFrom(addrOf(raw.Dst.Word), wirePort(raw.Dport)),
		Proto:   lb.Proto(raw.Proto).String(),
		Length:  raw.Length,
		Sampled: raw.Sampled,
		NeedHop: bpf.WeirEventKind(raw.Kind) == bpf.WeirEventKindEVENT_NO_NEIGHBOUR,
	}
	if int(raw.Reason) < len(reasonNames) && (e.Kind == "drop" || e.NeedHop) {
		e.Reason = reasonNames[raw.Reason]
	}
	if iface, err := net.InterfaceByIndex(int(raw.Ifindex)); err == nil {
		e.Iface = iface.Name
	}
	d.attribute(&e, raw)
	return e, true
}

// attribute names the service and the backend of an event.
func (d *DataPlane) attribute(e *lb.Event, raw *bpf.WeirEvent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.registry.backends[raw.Backend]; b != nil {
		e.VIP, e.Backend = b.service.vip.String(), b.key.endpoint.String()
		return
	}
	vip := lb.VIP{Addr: e.Dst.Addr(), Port: e.Dst.Port(), Proto: lb.Proto(raw.Proto)}
	for _, port := range []uint16{vip.Port, 0} {
		vip.Port = port
		if d.registry.services[vip] != nil {
			e.VIP = vip.String()
			return
		}
	}
}

// bootOffset is when CLOCK_MONOTONIC was 0.
func bootOffset() time.Time {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return time.Now().Add(-time.Duration(t.Nano()))
}
