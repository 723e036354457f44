package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
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

	// captureTell is how long losses wait for a packet to be told with.
	captureTell = 100 * time.Millisecond
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
		p, ok, err := c.next(lost > 0)
		if err != nil {
			if !errors.Is(err, perf.ErrClosed) {
				c.d.log.Error("reading captured packets", "err", err)
			}
			return
		}
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
			if p.Verdict != "" {
				lost++
			}
		}
	}
}

// next reads a packet; not ok if the filter does not want it. If there is none
// and losses are yet to be told, it gives one that tells nothing else.
func (c *capture) next(losses bool) (p lb.Captured, ok bool, err error) {
	var deadline time.Time
	if losses {
		deadline = time.Now().Add(captureTell)
	}
	c.reader.SetDeadline(deadline)
	record, err := c.reader.Read()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return lb.Captured{Time: time.Now()}, true, nil
	}
	if err != nil {
		return p, false, err
	}
	p, ok = c.decode(record)
	return p, ok, nil
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
