package dataplane

import (
	"bytes"
	"errors"
	"fmt"

	"weir/loader/lb"
)

// Explain says what becomes of a packet, and why, from what the maps hold now.
// Then it runs the packet through a second instance of the program on private
// copies of what matters, so that no flow and no counter changes, and says
// where the two differ. Packets from backends are taken for clients'.
func (d *DataPlane) Explain(p lb.Probe) (lb.Explanation, error) {
	if p.Src.Addr().Is4() != p.Dst.Addr().Is4() {
		return lb.Explanation{}, fmt.Errorf("%s and %s are of different families", p.Src, p.Dst)
	}
	d.explaining.Lock()
	defer d.explaining.Unlock()
	s, err := d.observe(p)
	if err != nil {
		return lb.Explanation{}, err
	}
	e := lb.Explanation{Src: p.Src, Dst: p.Dst, Proto: p.Proto.String()}
	if p.Proto == lb.TCP {
		e.TCPFlags = map[bool]string{false: "SYN", true: "ACK"}[p.Ack]
	}
	s.predict(&e)
	if e.Program, err = s.try(); err != nil {
		return e, fmt.Errorf("run the packet through a second program: %w", err)
	}
	e.Differing = differing(e.Expected, e.Program)
	return e, nil
}

// differing names what two outcomes do not agree on.
func differing(want, got lb.Outcome) (out []string) {
	if want.Verdict != got.Verdict {
		out = append(out, fmt.Sprintf("verdict: expected %s, the program says %s", want.Verdict, got.Verdict))
	}
	if want.Reason != got.Reason {
		out = append(out, fmt.Sprintf("reason: expected %q, the program counts %q", want.Reason, got.Reason))
	}
	if want.Frame != nil && !bytes.Equal(want.Frame, got.Frame) {
		out = append(out, fmt.Sprintf("packet: expected %x, the program sends %x", want.Frame, got.Frame))
	}
	return out
}

// try runs the probe through a program of its own.
func (s *situation) try() (_ lb.Outcome, err error) {
	c := s.trialConfig()
	// One that was killed may have left pins.
	if _, err := Unload(c.PinDir, false); err != nil {
		return lb.Outcome{}, err
	}
	d, err := Open(Options{
		Config: c, ClockShift: s.clock.shift, FlowKey: &s.node.FlowKey, LimitShift: stoppedShift, features: s.features,
	})
	if err != nil {
		return lb.Outcome{}, err
	}
	defer func() {
		_, unload := removePins(c.PinDir)
		err = errors.Join(err, unload, d.Close())
	}()
	if err := s.load(d); err != nil {
		return lb.Outcome{}, err
	}
	return d.runProbe(s.probe())
}
