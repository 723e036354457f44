package bpf_test

import (
	"encoding/binary"
	"testing"
)

// truncated frames by what is in them, all to f.web or f.dns.
func truncatees(f family) map[string]frame {
	s, q := packet(tcp, f.client, at(f.web)), packet(udp, f.client, at(f.dns))
	out := map[string]frame{
		"TCP": s, "TCP with options": s.options4(make([]byte, 40)...), "UDP": q,
	}
	if f.client.Addr().Is4() {
		out["TCP after options"] = s.ip4Options(make([]byte, 40)...)
		out["UDP after options"] = q.ip4Options(1, 1, 1, 1)
		return out
	}
	out["TCP after extensions"] = s.ext(hopByHop, 0).ext(routing, 1).ext(destinations, 2)
	out["UDP after an extension"] = q.ext(destinations, 1)
	return out
}

// A frame cut off at any byte is never rewritten: dropped if it is for a VIP,
// passed if not, or if its destination is cut off.
func TestCutFrames(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		l.load(t, append(one(nat(f.web, f.a)), one(nat(f.dns, f.a))...)...)
		for name, in := range truncatees(f) {
			t.Run(f.name+" "+name, func(t *testing.T) {
				stranger := in.dest(port(f.stranger.Addr(), in.to.Port()))
				for n := 14; n < len(in.bytes()); n++ {
					toVIP := in.dropped("malformed")
					if n < 14+headers(f) {
						toVIP = in.passed("malformed")
					}
					l.runCut(t, n, toVIP.is(none))
					l.runCut(t, n, stranger.passed("malformed").is(none))
				}
			})
		}
	}
}

func (l *lab) runCut(t *testing.T, n int, s step) {
	t.Helper()
	s.in = s.in[:n:n]
	s.out = s.in
	for _, wrong := range l.runStep(t, s) {
		t.Errorf("%d bytes: %s", n, wrong)
	}
}

// The same with an IP header that states what is left: short packets, not
// short frames.
func TestCutPackets(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		l.load(t, append(one(nat(f.web, f.a)), one(nat(f.dns, f.a))...)...)
		for name, in := range truncatees(f) {
			t.Run(f.name+" "+name, func(t *testing.T) {
				end := len(in.bytes())
				if in.proto == tcp { // may lose its data and stay whole
					end -= len(in.payload)
				}
				for n := 14 + headers(f); n < end; n++ {
					l.runCut(t, n, in.dropped("malformed").is(none).lasting(f, n))
				}
			})
		}
	}
}

// lasting sets the IP header's length to that of a frame of n bytes.
func (s step) lasting(f family, n int) step {
	if f.client.Addr().Is4() {
		binary.BigEndian.PutUint16(s.in[16:], uint16(n-14))
	} else {
		binary.BigEndian.PutUint16(s.in[18:], uint16(n-54))
	}
	return s
}
