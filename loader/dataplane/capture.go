package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/perf"

	"weir/bpf"
	"weir/loader/lb"
)

const (
	// captureBuffer is each CPU's in bytes: some 1,000 full-sized packets.
	captureBuffer = 4 << 20

	captureNoReason = uint32(bpf.WeirConstantCAPTURE_NO_REASON)
	captureQueue    = 1024
)

// verdictNames are enum xdp_action of linux/bpf.h.
var verdictNames = [...]string{"aborted", "drop", "pass", "tx", "redirect"}

// capture is a reader of captured packets and what it looks for.
type capture struct {
	d      *DataPlane
	filter lb.CaptureFilter
	reader *perf.Reader
	boot   time.Time // when the kernel's clock was 0
	ifaces map[uint32]string
}

// Capture sends packets that the filter selects, as they came in and as they
// left, until ctx ends; then the channel is closed. Packets that are too many
// for the kernel (some 30,000 a second and CPU) or for the reader are lost and
// counted. Only one capture can run: another is refused with lb.ErrBusy.
func (d *DataPlane) Capture(ctx context.Context, f lb.CaptureFilter) (<-chan lb.Captured, error) {
	want, err := d.captureWant(f)
	if err != nil {
		return nil, err
	}
	if !d.capturing.TryLock() {
		return nil, fmt.Errorf("a capture runs already, and there can be one at a time: %w", lb.ErrBusy)
	}
	reader, err := perf.NewReader(d.maps.Captures, captureBuffer)
	if err == nil {
		err = d.setCapture(want)
	}
	if err != nil {
		if reader != nil {
			err = errors.Join(err, reader.Close())
		}
		d.capturing.Unlock()
		return nil, fmt.Errorf("start a capture: %w", err)
	}
	out := make(chan lb.Captured, captureQueue)
	c := &capture{d: d, filter: f, reader: reader, boot: bootOffset(), ifaces: map[uint32]string{}}
	go func() {
		defer d.capturing.Unlock()
		defer close(out)
		c.run(ctx, out)
	}()
	return out, nil
}

// captureWant is what of a filter the kernel looks at.
func (d *DataPlane) captureWant(f lb.CaptureFilter) (*bpf.WeirCaptureFilter, error) {
	w := &bpf.WeirCaptureFilter{Snaplen: lb.MaxSnapLen}
	if f.SnapLen > 0 {
		w.Snaplen = min(f.SnapLen, lb.MaxSnapLen)
	}
	var err error
	if w.Reasons, err = reasonMask(f); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.VIP != nil {
		s := d.registry.services[*f.VIP]
		if s == nil {
			return nil, &lb.FilterError{What: fmt.Sprintf("no service has VIP %s", f.VIP)}
		}
		w.Service = uint32(s.index)
	}
	if f.Backend.IsValid() {
		ids := d.idsOf(f)
		switch len(ids) {
		case 0:
			return nil, &lb.FilterError{What: fmt.Sprintf("no such service sends to backend %s", f.Backend)}
		case 1:
			w.Backend = ids[0]
		}
	}
	return w, nil
}

// idsOf are the ids of the filter's backend, which each of its services calls
// otherwise.
func (d *DataPlane) idsOf(f lb.CaptureFilter) (ids []uint32) {
	for id, b := range d.registry.backends {
		if b.key.endpoint == f.Backend && (f.VIP == nil || b.service.vip == *f.VIP) {
			ids = append(ids, id)
		}
	}
	return ids
}

func reasonMask(f lb.CaptureFilter) (mask uint64, err error) {
	if len(f.Reasons) == 0 {
		for reason := range reasonNames {
			if f.All || !foreign(bpf.WeirReason(reason)) {
				mask |= 1 << reason
			}
		}
		return mask | 1<<captureNoReason, nil
	}
	for _, name := range f.Reasons {
		found := false
		for reason, known := range reasonNames {
			if known == name {
				mask |= 1 << reason
				found = true
			}
		}
		if !found {
			names := slices.Clone(reasonNames[:])
			slices.Sort(names)
			return 0, &lb.FilterError{What: fmt.Sprintf("there is no reason %q; there are: %s", name, strings.Join(slices.Compact(names), ", "))}
		}
	}
	return mask, nil
}

// foreign packets are for no service.
func foreign(r bpf.WeirReason) bool {
	switch r {
	case bpf.WeirReasonPASS_NOT_IP, bpf.WeirReasonPASS_VLAN, bpf.WeirReasonPASS_NOT_VIP, bpf.WeirReasonPASS_MALFORMED:
		return true
	}
	return false
}

// setCapture tells the program what to capture, nil: nothing.
func (d *DataPlane) setCapture(w *bpf.WeirCaptureFilter) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.captured = w
	return d.writeCapture(d.program)
}

func (d *DataPlane) writeCapture(p *bpf.WeirObjects) error {
	err := p.CaptureOn.Set(uint32(0))
	if d.captured != nil && err == nil {
		err = errors.Join(p.CaptureWant.Set(*d.captured), p.CaptureOn.Set(uint32(1)))
	}
	if err != nil {
		return fmt.Errorf("switch capturing: %w", err)
	}
	return nil
}

func (c *capture) run(ctx context.Context, out chan<- lb.Captured) {
	stop := context.AfterFunc(ctx, func() { _ = c.reader.Close() })
	defer func() {
		if err := c.d.setCapture(nil); err != nil {
			c.d.log.Error("the kernel still captures, for nobody", "err", err)
		}
		if stop() {
			_ = c.reader.Close()
		}
	}()
	var lost uint64
	for {
		record, err := c.reader.Read()
		if err != nil {
			if !errors.Is(err, perf.ErrClosed) {
				c.d.log.Error("reading captured packets", "err", err)
			}
			return
		}
		p, ok := c.decode(record)
		p.Lost += lost
		lost = p.Lost
		if !ok {
			continue
		}
		select {
		case out <- p:
			lost = 0
		case <-ctx.Done():
			return
		default: // the reader is too slow
			lost++
		}
	}
}

// decode reads a record; not ok if the filter does not want it.
func (c *capture) decode(r perf.Record) (p lb.Captured, ok bool) {
	if r.LostSamples > 0 {
		return lb.Captured{Time: time.Now(), Lost: r.LostSamples}, true
	}
	const size = int(unsafe.Sizeof(bpf.WeirCaptured{}))
	if len(r.RawSample) < size {
		return p, false
	}
	head, data := (*bpf.WeirCaptured)(unsafe.Pointer(&r.RawSample[0])), r.RawSample[size:]
	if uint64(head.Copied)+uint64(head.OutCopied) > uint64(len(data)) || int(head.Verdict) >= len(verdictNames) {
		return p, false
	}
	p = lb.Captured{
		Time: c.boot.Add(time.Duration(head.Time)), Verdict: verdictNames[head.Verdict], Lost: uint64(head.Skipped),
		In: lb.Frame{Interface: c.iface(head.Ifindex), Length: head.Length, Data: slices.Clone(data[:head.Copied])},
	}
	if int(head.Reason) < len(reasonNames) {
		p.Reason = reasonNames[head.Reason]
	}
	if head.OutLength > 0 {
		p.Out = &lb.Frame{Interface: c.iface(head.OutIfindex), Length: head.OutLength, Data: slices.Clone(data[head.Copied:][:head.OutCopied])}
	}
	return p, c.attribute(&p, head.Backend)
}

// attribute names service and backend, and tells whether they are those that
// are wanted. A packet that got no backend is of the service it is addressed to
// or, if it has no port to tell by, of each of its address.
func (c *capture) attribute(p *lb.Captured, id uint32) bool {
	f := c.filter
	if o := c.d.owner(id); o.endpoint.IsValid() {
		p.VIP, p.Backend = &o.vip, o.endpoint
		return (f.VIP == nil || o.vip == *f.VIP) && (!f.Backend.IsValid() || o.endpoint == f.Backend)
	}
	if f.Backend.IsValid() {
		return false
	}
	to := targetOf(p.In.Data)
	p.VIP = c.d.serviceAt(to)
	if f.VIP == nil {
		return true
	}
	return p.VIP != nil && *p.VIP == *f.VIP || p.VIP == nil && to.Addr == f.VIP.Addr && to.Port == 0
}

// serviceAt is the VIP of the service for a destination, nil if there is none.
func (d *DataPlane) serviceAt(to lb.VIP) *lb.VIP {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, port := range []uint16{to.Port, 0} {
		to.Port = port
		if s := d.registry.services[to]; s != nil {
			return &s.vip
		}
	}
	return nil
}

func (c *capture) iface(index uint32) string {
	name, known := c.ifaces[index]
	if !known {
		if iface, err := net.InterfaceByIndex(int(index)); err == nil {
			name = iface.Name
		} else {
			name = fmt.Sprintf("if%d", index)
		}
		c.ifaces[index] = name
	}
	return name
}

// targetOf is what a frame is addressed to, as far as it can be told: tags are
// skipped, what is behind IPv6 extension headers is not looked for.
func targetOf(b []byte) (to lb.VIP) {
	const tag = 4
	if len(b) < ethHeader {
		return to
	}
	kind, l3 := uint16(b[12])<<8|uint16(b[13]), b[ethHeader:]
	for (kind == 0x8100 || kind == 0x88a8) && len(l3) >= tag {
		kind, l3 = uint16(l3[2])<<8|uint16(l3[3]), l3[tag:]
	}
	header := 0
	switch {
	case kind == etherType(netip.IPv4Unspecified()) && len(l3) >= ip4Header:
		to.Addr, to.Proto = netip.AddrFrom4([4]byte(l3[16:])), lb.Proto(l3[9])
		if l3[6]&0x1f == 0 && l3[7] == 0 { // no later fragment
			header = int(l3[0]&15) * 4
		}
	case kind == etherType(netip.IPv6Unspecified()) && len(l3) >= 40:
		to.Addr, to.Proto, header = netip.AddrFrom16([16]byte(l3[24:])), lb.Proto(l3[6]), 40
	}
	if l4 := l3[min(header, len(l3)):]; header > 0 && len(l4) >= 4 && (to.Proto == lb.TCP || to.Proto == lb.UDP) {
		to.Port = uint16(l4[2])<<8 | uint16(l4[3])
	}
	return to
}
