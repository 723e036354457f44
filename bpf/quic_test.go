package bpf_test

import (
	"testing"

	"weir/loader/lb"
)

// longHeader is the beginning of a QUIC packet with this connection id (RFC
// 9000, 17.2).
func longHeader(id ...byte) []byte {
	return append(append([]byte{0xc3, 0, 0, 0, 1, byte(len(id))}, id...), 0, 1, 2, 3)
}

func shortHeader(id ...byte) []byte { return append([]byte{0x43}, id...) }

// quicLab has a service with two backends, whose server ids are 0a01 and 0a02
// of configuration 0, and in configuration 2 too.
func quicLab(t *testing.T, f family) (l *lab, a, b target) {
	l = newLab(t)
	a, b = dsr(f.dns, f.a), dsr(f.dns, f.b)
	state := l.state([]service{twoBackends(a, b)})
	state.Services[0].QUIC = lb.QUIC{0: 2, 2: 2}
	for i, id := range []string{"\x0a\x01", "\x0a\x02"} {
		state.Services[0].Backends[i].ServerID = id
	}
	if err := l.Apply(state); err != nil {
		t.Fatal(err)
	}
	return l, a, b
}

func TestQUICFollowsTheConnectionID(t *testing.T) {
	for _, f := range []family{ip4, ip6} {
		l, a, b := quicLab(t, f)
		from := func(n uint16, payload []byte) frame {
			return packet(udp, port(f.client.Addr(), n), at(f.dns)).with(payload)
		}
		for _, s := range list(
			// What a client draws itself names nobody: round robin.
			from(1, longHeader(0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88)).sent(a).opens(a),
			from(1, shortHeader(0x07, 0x0a, 0x01, 9, 9, 9)).sent(a).hits(a).is("stream"),
			// A new address, twice, and the other configuration.
			from(2, shortHeader(0x07, 0x0a, 0x01, 9, 9, 9)).sent(a).opens(a),
			from(3, shortHeader(0x47, 0x0a, 0x01, 9, 9, 9)).sent(a).opens(a),
			from(4, longHeader(0x07, 0x0a, 0x01, 9, 9, 9)).sent(a).opens(a),
			// Of other configurations, with other ids or cut short: next in turn.
			from(5, shortHeader(0x27, 0x0a, 0x01, 9, 9, 9)).sent(b).opens(b),
			from(6, shortHeader(0x07, 0x0a, 0x03, 9, 9, 9)).sent(a).opens(a),
			from(7, shortHeader(0x07, 0x0a)).sent(b).opens(b),
			from(8, longHeader(0x07, 0x0a)).sent(a).opens(a),
			from(9, shortHeader()).sent(b).opens(b),
			from(10, nil).sent(a).opens(a),
			// A long header's id does not move a flow, a short one's does.
			from(1, longHeader(0x07, 0x0a, 0x02, 9, 9, 9)).sent(a).hits(a),
			from(1, shortHeader(0x07, 0x0a, 0x02, 9, 9, 9)).sent(b).opens(b).move(a, counts{active: -1}).is("embryonic"),
			from(1, shortHeader(0x07, 0x0a, 0x02, 9, 9, 9)).sent(b).hits(b).is("stream"),
		) {
			l.mustStep(t, s)
		}
	}
}

// Server ids follow the configuration; one that drains keeps its own.
func TestQUICIDsChange(t *testing.T) {
	l, a, b := quicLab(t, ip4)
	to := func(n uint16, id byte) frame {
		return packet(udp, port(ip4.client.Addr(), n), at(ip4.dns)).with(shortHeader(0, 0x0a, id, 9))
	}
	l.mustStep(t, to(1, 1).sent(a).opens(a))
	state := l.state([]service{{vip: ip4.dns, forward: b.forward, backends: addrs(b.at)}})
	state.Services[0].QUIC = lb.QUIC{0: 2}
	state.Services[0].Backends[0].ServerID = "\x0a\x03"
	if err := l.Apply(state); err != nil {
		t.Fatal(err)
	}
	l.mustStep(t, to(2, 1).sent(a).opens(a)) // drains
	l.mustStep(t, to(3, 3).sent(b).opens(b))
	state.Services[0].QUIC = lb.QUIC{}
	if err := l.Apply(state); err != nil {
		t.Fatal(err)
	}
	l.mustStep(t, to(4, 1).sent(b).opens(b))
}
