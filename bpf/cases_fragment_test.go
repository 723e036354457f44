package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"weir/loader/lb"
)

// of makes the frame a fragment of a packet of this identification. offset is
// in bytes.
func (f frame) of(ident uint16, offset int, more bool) frame {
	if f.from.Addr().Is4() {
		f.ident, f.fragment = ident, uint16(offset/8)
		if more {
			f.fragment |= 0x2000
		}
		return f
	}
	f = f.frag6(uint16(offset), more)
	last := f.extensions[len(f.extensions)-1].body
	binary.BigEndian.PutUint16(last[4:], ident)
	return f
}

// first is the first fragment of a larger packet.
func (f frame) first(ident uint16) frame {
	f = f.of(ident, 0, true)
	if f.proto == udp {
		return f.lying(atL4, 4, 0x10, 0) // all of the packet
	}
	return f
}

// later is another fragment: data without a header.
func (f frame) later(ident uint16, offset int, more bool) frame {
	f.raw = append([]byte{0xff, 0xff, 0xff, 0xff}, make([]byte, 36)...)
	return f.of(ident, offset, more)
}

// fragmentCases: what follows the first fragment.
func fragmentCases(f family, mode func(lb.VIP, netip.Addr) target) []packetCase {
	web, dns, b := mode(f.web, f.a), mode(f.dns, f.a), mode(f.web, f.b)
	services := append(one(web), one(dns)...)
	both := []service{twoBackends(web, b)}
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	q := packet(udp, f.client, at(f.dns))
	second := packet(tcp, f.other, at(f.web)).carrying(syn)
	large, unknown := 1480, mode(f.web, f.unknown)
	opensOnly := counts{flows: 1, active: 1}
	overlap := func(in frame) step { return in.dropped("fragment_overlap") }
	return []packetCase{
		{"a datagram in three fragments", services, list(
			q.first(1).sent(dns).opens(dns).is("embryonic"), q.later(1, 1200, true).sent(dns).hits(dns), q.later(1, 2400, false).sent(dns).hits(dns))},
		{"a segment in two fragments", services, list(
			s.first(1).sent(web).opens(web), s.later(1, 24, false).sent(web).hits(web))},
		{"a known flow's", services, list(
			s.sent(web).opens(web), s.carrying(ack).first(9).sent(web).hits(web).is("established"), s.later(9, large, false).sent(web).hits(web))},
		{"fragments before the first", services, list(
			q.later(1, 800, false).dropped("fragment").is(none), q.first(1).sent(dns).opens(dns), q.later(1, 800, false).sent(dns).hits(dns))},
		{"fragments of another packet", services, list(
			q.first(1).sent(dns).opens(dns), q.later(2, 800, false).dropped("fragment"),
			packet(udp, f.far, at(f.dns)).later(1, 800, false).dropped("fragment"),
			packet(tcp, f.client, at(f.web)).later(1, 800, false).dropped("fragment"))},
		{"packets whose fragments mix", both, list(
			s.first(1).sent(web).opens(web), second.first(2).sent(b).opens(b),
			s.later(1, 800, false).sent(web).hits(web), second.later(2, 800, true).sent(b).hits(b), second.later(2, 1600, false).sent(b).hits(b))},
		{"the first once more", services, list(
			q.first(1).sent(dns).opens(dns), q.first(1).sent(dns).hits(dns), q.later(1, 800, false).sent(dns).hits(dns))},
		{"two first fragments that differ", both, list(
			s.first(1).sent(web).opens(web), overlap(second.first(1)).move(b, opensOnly),
			overlap(s.later(1, 800, false)), overlap(s.first(1)), overlap(second.first(1)),
			s.first(2).sent(web).hits(web), s.later(2, 800, false).sent(web).hits(web))},
		{"over the header of TCP", services, list(
			s.first(1).sent(web).opens(web), overlap(s.later(1, 8, true)), overlap(s.later(1, 16, false)), s.later(1, 24, false).sent(web).hits(web),
			overlap(s.later(2, 8, false)))},
		{"right behind the header of UDP", services, list(
			q.first(1).sent(dns).opens(dns), q.later(1, 8, false).sent(dns).hits(dns))},
		{"a first one with half a header", services, list(
			s.later(1, 0, true).with(nil).short(16).dropped("malformed").is(none), q.later(1, 0, true).short(4).dropped("malformed").is(none))},
		{"beyond the largest packet", services, list(q.first(1).sent(dns).opens(dns), q.later(1, 65528, false).dropped("malformed"))},
		{"too late", services, list(
			q.first(1).sent(dns).opens(dns), q.later(1, 800, false).dropped("fragment").after(aged(30*time.Second)))},
		{"in time", services, list(
			q.first(1).sent(dns).opens(dns), q.later(1, 800, false).sent(dns).hits(dns).after(aged(12*time.Second)))},
		{"TTL 0", services, list(q.first(1).sent(dns).opens(dns), q.later(1, 800, false).ttl(0).dropped("ttl"))},
		{"no next hop", one(unknown), list(
			s.first(1).dropped("no_next_hop").move(unknown, opensOnly), s.later(1, 800, false).unsent(unknown))},
		{"no backend", []service{{vip: f.web, forward: web.forward}}, list(
			s.first(1).dropped("no_backend"), s.later(1, 800, false).dropped("fragment"))},
		{"for l7", []service{{vip: f.web, forward: lb.L7}}, list(
			s.later(1, 800, false).dropped("fragment"), s.first(1).passed("local"), s.later(1, 800, false).passed("local"), s.later(1, 1600, true).passed("local"))},
		{"to a port without service", services, list(
			s.dest(port(f.web.Addr, 81)).first(1).passed("not_vip"), s.later(1, 800, false).passed("not_vip"))},
		{"for the host and for a service", services, list(
			s.dest(port(f.web.Addr, 81)).first(1).passed("not_vip"), overlap(s.first(1)).move(web, opensOnly), overlap(s.later(1, 800, false)))},
		{"to a stranger", services, list(
			s.dest(f.stranger).first(1).passed("not_vip"), s.dest(f.stranger).later(1, 8, false).passed("not_vip"))},
	}
}

// short cuts what comes after the IP headers.
func (f frame) short(n int) frame { f.raw = f.raw[:n]; return f }

// unsent: snat has no source yet, so that there is nothing to follow.
func (f frame) unsent(t target) step {
	if t.forward == lb.SNAT {
		return f.dropped("fragment")
	}
	return f.dropped("no_next_hop")
}

func aged(by time.Duration) func(*testing.T, *lab) {
	return func(t *testing.T, l *lab) { l.age(t, by) }
}

// fragmentNATCases: replies, which are told by their ports too.
func fragmentNATCases(f family) []packetCase {
	n := nat(f.dns, f.a)
	q := packet(udp, f.client, at(f.dns))
	r := n.reply(q)
	asked := q.sent(n).opens(n)
	return []packetCase{
		{"reply in fragments", one(n), list(
			asked, r.first(7).answered(n).replies(n), r.later(7, 800, true).answered(n).replies(n), r.later(7, 1600, false).answered(n).replies(n))},
		{"later fragments of a reply before the first", one(n), list(
			asked, r.later(7, 800, false).passed("not_vip"), r.first(7).answered(n).replies(n), r.later(7, 800, false).answered(n).replies(n))},
		{"a backend's own", one(n), list(
			r.first(7).passed("not_vip"), r.later(7, 800, false).passed("not_vip"))},
		{"reply of TTL 1", one(n), list(asked, r.first(7).answered(n).replies(n), r.later(7, 800, false).ttl(1).dropped("ttl"))},
		{"request of TTL 1", one(n), list(q.first(1).sent(n).opens(n), q.later(1, 800, false).ttl(1).dropped("ttl"))},
		{"reply whose client's neighbour is missing", one(n), list(
			packet(udp, f.lost, at(f.dns)).sent(n).opens(n),
			n.reply(packet(udp, f.lost, at(f.dns))).first(7).handed(n, "no_neighbour").replies(n),
			n.reply(packet(udp, f.lost, at(f.dns))).later(7, 800, false).handed(n, "no_neighbour").replies(n))},
		{"a reply's over the header of TCP", one(nat(f.web, f.a)), list(
			packet(tcp, f.client, at(f.web)).sent(nat(f.web, f.a)).opens(nat(f.web, f.a)),
			nat(f.web, f.a).reply(packet(tcp, f.client, at(f.web))).first(7).answered(nat(f.web, f.a)).replies(nat(f.web, f.a)),
			nat(f.web, f.a).reply(packet(tcp, f.client, at(f.web))).later(7, 16, false).dropped("fragment_overlap"))},
	}
}

// fragmentTunnelCases: a fragment is a packet like others to a tunnel.
func fragmentTunnelCases(f family, mode func(lb.VIP, netip.Addr) target) []packetCase {
	dns := mode(f.dns, f.a)
	q := packet(udp, f.client, at(f.dns))
	big := q.later(1, 800, false)
	big.raw = make([]byte, 1470)
	return []packetCase{{"a later fragment too big", one(dns), list(q.first(1).sent(dns).opens(dns), big.dropped("too_big"))}}
}

// fragment6Cases: headers of IPv6 around the fragment header.
func fragment6Cases() []packetCase {
	f := ip6
	web, dns := nat(f.web, f.a), nat(f.dns, f.a)
	s := packet(tcp, f.client, at(f.web))
	q := packet(udp, f.client, at(f.dns))
	return []packetCase{
		{"a fragment that is all", one(web), list(s.frag6(0, false).sent(web).opens(web), s.frag6(6, false).sent(web).hits(web))},
		{"echo in a fragment that is all", one(web), list(packet(icmp6, f.client, at(f.web)).frag6(0, false).echoed())},
		{"after other headers", one(dns), list(
			q.ext(hopByHop, 0).ext(routing, 1).first(1).sent(dns).opens(dns), q.ext(hopByHop, 0).later(1, 800, false).sent(dns).hits(dns))},
		{"before other headers", one(dns), list(
			q.first(1).ext(destinations, 0).dropped("extensions").is(none), q.first(1).frag6(8, true).dropped("extensions").is(none))},
		{"of ICMP", one(web), list(packet(icmp6, f.client, at(f.web)).of(1, 0, true).passed("not_vip"))},
		{"after four others", one(dns), list(
			q.ext(destinations, 0).ext(destinations, 0).ext(destinations, 0).ext(destinations, 0).first(1).sent(dns).opens(dns))},
		{"after five others", one(dns), list(
			q.ext(destinations, 0).ext(destinations, 0).ext(destinations, 0).ext(destinations, 0).ext(destinations, 0).first(1).dropped("extensions"))},
		{"a header that is cut off", one(dns), list(q.of(1, 0, true).lying(atL3, 4, 0, 7).dropped("malformed"))},
	}
}

// TestDroppedFragments: they are, if the configuration says so.
func TestDroppedFragments(t *testing.T) {
	c := defaults()
	c.DropFragments = true
	l := newLabWith(t, c)
	for _, f := range []family{ip4, ip6} {
		web := nat(f.web, f.a)
		s := packet(tcp, f.client, at(f.web))
		l.runCase(t, packetCase{f.name, one(web), list(
			s.first(1).dropped("fragment").is(none), s.later(1, 800, false).dropped("fragment"),
			s.dest(f.stranger).first(1).passed("not_vip"))})
	}
}
