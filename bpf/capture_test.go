package bpf_test

import (
	"bytes"
	std "context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/bpf/model"
	"weir/loader/lb"
)

// inBudget is how many packets of one window of the capture's budget are sent.
const inBudget = 16

// pace waits, after each so many packets, for the next window.
func pace(n int) {
	if n%inBudget != 0 {
		return
	}
	for began := captureWindow(); captureWindow() == began; {
	}
}

// captureWindow is that of CAPTURE_WINDOW_SHIFT.
func captureWindow() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano() >> 20
}

// A capture shows each packet as it came in and as the model says that it left,
// and changes nothing.
func TestCaptureSeesWhatTheModelSays(t *testing.T) {
	for _, k := range worldKinds {
		t.Run(k.name, func(t *testing.T) {
			w := newWorld(t, k)
			ctx, cancel := std.WithCancel(t.Context())
			packets, err := w.lab.Capture(ctx, lb.CaptureFilter{All: true})
			if err != nil {
				t.Fatal(err)
			}
			err = w.lab.ns.Do(func() error { return w.captured(t, packets, 4000) })
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			for p := range packets {
				t.Errorf("one packet too many: %+v", p)
			}
		})
	}
}

func (w *world) captured(t *testing.T, packets <-chan lb.Captured, n int) error {
	w.reset()
	g := newTraffic(w, newDice(99))
	for i := 0; i < n && !t.Failed(); {
		e := g.next()
		diff, err := w.step(e)
		if err != nil || diff != "" {
			t.Errorf("while captured: %s", diff)
			return err
		}
		if e.frame == nil {
			continue
		}
		i++
		pace(i)
		select {
		case p := <-packets:
			w.compareCaptured(t, e, p)
		case <-time.After(5 * time.Second):
			t.Errorf("packet %d is not captured: %v", i, e)
		}
		if !w.last.Limited {
			g.learn(e.frame, w.last)
		}
	}
	return nil
}

var captureVerdicts = map[model.Verdict]string{model.Drop: "drop", model.Pass: "pass", model.TX: "tx", model.Redirect: "redirect"}

func (w *world) compareCaptured(t *testing.T, e event, p lb.Captured) {
	t.Helper()
	reason := model.Reason("")
	if n := len(w.last.Reasons); n > 0 {
		reason = w.last.Reasons[n-1]
	}
	if p.Lost != 0 || p.Verdict != captureVerdicts[w.last.Verdict] || p.Reason != reason.Name() || !bytes.Equal(p.In.Data, e.frame) || int(p.In.Length) != len(e.frame) {
		t.Errorf("%v\nis captured as %+v, want %v %q", e, p, captureVerdicts[w.last.Verdict], reason)
	}
	out := e.frame
	if p.Out != nil {
		out = p.Out.Data
	} else if w.last.Verdict == model.TX || w.last.Verdict == model.Redirect {
		t.Errorf("%v\nleft, and is captured as %+v", e, p)
	}
	if w.last.Verdict != model.Drop && !bytes.Equal(out, w.last.Frame) {
		t.Errorf("%v\nis captured to leave as %x, want %x", e, out, w.last.Frame)
	}
}

func TestCaptureFilters(t *testing.T) {
	l := newLab(t)
	a, b, u := dsr(ip4.web, ip4.a), dsr(ip4.web, ip4.away), nat(ip4.dns, ip4.a)
	l.load(t, twoBackends(a, b), one(u)[0], service{vip: ip4.web2, forward: lb.DSR})
	send := func(n uint16) (sent int) {
		frames := []frame{
			packet(tcp, port(ip4.client.Addr(), n), at(ip4.web)).carrying(syn),          // to a or b
			packet(tcp, port(ip4.client.Addr(), n+1), at(ip4.web)).carrying(syn),        // to the other
			packet(udp, port(ip4.client.Addr(), n), at(ip4.dns)),                        // to u
			packet(tcp, port(ip4.client.Addr(), n), at(ip4.web2)).carrying(syn),         // no_backend
			packet(tcp, port(ip4.client.Addr(), n), ip4.stranger).carrying(syn),         // not_vip
			packet(tcp, port(ip4.client.Addr(), n+2), at(ip4.web)).carrying(syn).ttl(0), // ttl
		}
		err := l.ns.Do(func() error {
			for _, f := range frames {
				if _, _, err := l.run("in0", f.bytes()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return len(frames)
	}
	for i, c := range []struct {
		name   string
		filter lb.CaptureFilter
		want   []string // verdict and reason
	}{
		{"none", lb.CaptureFilter{}, []string{"tx", "redirect", "tx", "drop no_backend", "drop ttl"}},
		{"all", lb.CaptureFilter{All: true}, []string{"tx", "redirect", "tx", "drop no_backend", "pass not_vip", "drop ttl"}},
		{"service", lb.CaptureFilter{VIP: &u.vip}, []string{"tx"}},
		{"service that drops", lb.CaptureFilter{VIP: &ip4.web2}, []string{"drop no_backend"}},
		{"backend", lb.CaptureFilter{Backend: b.at}, []string{"redirect"}},
		{"backend of one of two services", lb.CaptureFilter{VIP: &u.vip, Backend: u.at}, []string{"tx"}},
		{"reason", lb.CaptureFilter{Reasons: []string{"ttl", "not_vip"}}, []string{"pass not_vip", "drop ttl"}},
		{"reason of a service", lb.CaptureFilter{VIP: &ip4.web, Reasons: []string{"ttl"}}, []string{"drop ttl"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.forget(t)
			ctx, cancel := std.WithCancel(t.Context())
			packets, err := l.Capture(ctx, c.filter)
			if err != nil {
				t.Fatal(err)
			}
			pace(0)
			send(uint16(100 * (i + 1)))
			var got []lb.Captured
			for range c.want {
				select {
				case p := <-packets:
					got = append(got, p)
				case <-time.After(5 * time.Second):
					t.Fatalf("only %+v are captured, want %q", got, c.want)
				}
			}
			// Those of two CPUs may come in another order.
			slices.SortFunc(got, func(a, b lb.Captured) int { return a.Time.Compare(b.Time) })
			for i, p := range got {
				if elsewhere := p.Out != nil && p.Out.Interface != p.In.Interface; elsewhere != (p.Verdict == "redirect") {
					t.Errorf("captured %+v, on the wrong interfaces", p)
				}
				if said := strings.TrimSpace(p.Verdict + " " + p.Reason); said != c.want[i] ||
					c.filter.VIP != nil && (p.VIP == nil || *p.VIP != *c.filter.VIP) || c.filter.Backend.IsValid() && p.Backend != c.filter.Backend {
					t.Errorf("captured %+v, want %s", p, c.want[i])
				}
			}
			cancel()
			for p := range packets {
				t.Errorf("one packet too many: %+v", p)
			}
		})
	}
}

func TestCaptureCutsFrames(t *testing.T) {
	l, d := newLab(t), ipipTarget()
	l.load(t, one(d)...)
	packets, err := l.Capture(t.Context(), lb.CaptureFilter{SnapLen: 60})
	if err != nil {
		t.Fatal(err)
	}
	in := packet(tcp, ip4.client, at(ip4.web)).carrying(syn).with(make([]byte, 500)).bytes()
	err = l.ns.Do(func() error {
		_, _, err := l.run("in0", in)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p := <-packets
	if !bytes.Equal(p.In.Data, in[:60]) || int(p.In.Length) != len(in) || p.Out == nil || len(p.Out.Data) != 60 || int(p.Out.Length) != len(in)+20 {
		t.Errorf("captured %+v", p)
	}
}

func ipipTarget() target { return pairings[0].ipip(ip4.web, ip4.a) }

// One capture at a time, and one after the other; what does not exist is refused.
func TestCaptureRefusals(t *testing.T) {
	l := newLab(t)
	d := dsr(ip4.web, ip4.a)
	l.load(t, one(d)...)
	ctx, cancel := std.WithCancel(t.Context())
	first, err := l.Capture(ctx, lb.CaptureFilter{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Capture(t.Context(), lb.CaptureFilter{}); !errors.Is(err, lb.ErrBusy) {
		t.Errorf("a second capture: %v", err)
	}
	cancel()
	for range first {
	}
	for _, f := range []lb.CaptureFilter{{VIP: &ip4.dns}, {Backend: port(ip4.b, 0)}, {Reasons: []string{"nope"}}} {
		var wrong *lb.FilterError
		if _, err := l.Capture(t.Context(), f); !errors.As(err, &wrong) {
			t.Errorf("%+v: %v", f, err)
		}
	}
	ctx, cancel = std.WithCancel(t.Context())
	again, err := l.Capture(ctx, lb.CaptureFilter{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range again {
	}
}

// Packets over the budget are counted; a program that is replaced meanwhile
// captures on.
func TestCaptureBudget(t *testing.T) {
	stay(t) // each CPU tells of its own
	l := newLab(t)
	d, n := dsr(ip4.web, ip4.a), nat(ip4.dns, ip4.a)
	l.load(t, one(d)...)
	packets, err := l.Capture(t.Context(), lb.CaptureFilter{})
	if err != nil {
		t.Fatal(err)
	}
	apply(one(d)[0], one(n)[0])(t, l) // loads another program
	frame := packet(tcp, ip4.client, at(ip4.web)).carrying(syn).bytes()
	before := l.forwarded(t)
	if _, _, err := l.Program().Benchmark(frame, 20_000, nil); err != nil {
		t.Fatal(err)
	}
	pace(0)
	if _, _, err := l.Program().Benchmark(frame, 1, nil); err != nil { // tells of those lost before it
		t.Fatal(err)
	}
	seen, lost := tally(t, packets, l.forwarded(t)-before) // a run that a signal interrupts begins again
	if seen < 2 || lost == 0 {
		t.Errorf("%d packets captured and %d lost", seen, lost)
	}
}

// Packets for which a reader that sleeps has no room are told as lost when it
// reads again, also if no other follows.
func TestCaptureOfASleeper(t *testing.T) {
	stay(t)
	l := newLab(t)
	l.load(t, one(dsr(ip4.web, ip4.a))...)
	packets, err := l.Capture(t.Context(), lb.CaptureFilter{})
	if err != nil {
		t.Fatal(err)
	}
	frame := packet(tcp, ip4.client, at(ip4.web)).carrying(syn).bytes()
	before, room := l.forwarded(t), cap(packets)
	for range room/inBudget + 10 {
		pace(0)
		if _, _, err := l.Program().Benchmark(frame, inBudget, nil); err != nil {
			t.Fatal(err)
		}
	}
	seen, lost := tally(t, packets, l.forwarded(t)-before)
	if seen < uint64(room) || lost == 0 {
		t.Errorf("%d packets captured and %d lost", seen, lost)
	}
}

// tally reads until as many packets as were sent are captured or told as lost.
func tally(t *testing.T, packets <-chan lb.Captured, sent uint64) (seen, lost uint64) {
	t.Helper()
	for seen+lost < sent {
		select {
		case p := <-packets:
			lost += p.Lost
			if p.Verdict != "" {
				seen++
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%d packets captured and %d lost, of %d", seen, lost, sent)
		}
	}
	if seen+lost > sent {
		t.Errorf("%d packets captured and %d lost, of %d", seen, lost, sent)
	}
	return seen, lost
}

// forwarded is how many packets went to backends.
func (l *lab) forwarded(t *testing.T) (n uint64) {
	t.Helper()
	for _, b := range l.counters(t).backends {
		n += uint64(b.packets)
	}
	return n
}

// stay keeps the test on one CPU.
func stay(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	for cpu := range runtime.NumCPU() {
		if one.Count() == 0 && before.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.SchedSetaffinity(0, &before); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	})
}
