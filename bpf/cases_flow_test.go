package bpf_test

import (
	"net/netip"
	"testing"
	"time"

	"weir/loader/lb"
)

// apply is a change of the services between two packets.
func apply(services ...service) func(*testing.T, *lab) {
	return func(t *testing.T, l *lab) {
		if err := l.Apply(l.state(services)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
}

// twoBackends sends new flows to the backends in turn.
func twoBackends(a, b target) service {
	return service{vip: a.vip, forward: a.forward, backends: addrs(a.at, b.at)}
}

// flowCases: the life of a flow.
func flowCases(f family, mode func(lb.VIP, netip.Addr) target) []packetCase {
	a, b := mode(f.web, f.a), mode(f.web, f.b)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	data, finack, reset := s.carrying(ack|psh), s.carrying(fin|ack), s.carrying(rst)
	u, v := mode(f.dns, f.a), mode(f.dns, f.b)
	q := packet(udp, f.client, at(f.dns))
	second := packet(tcp, f.other, at(f.web)).carrying(syn)
	onlyB := service{vip: f.web, forward: a.forward, backends: addrs(b.at)}
	drained := service{vip: f.web, forward: a.forward, backends: addrs(a.at, b.at), table: []uint32{1}}
	return []packetCase{
		{"TCP from SYN to the end", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a).is("embryonic"),
			s.sent(a).hits(a).is("embryonic"), // a repeated SYN
			data.sent(a).hits(a).is("established"),
			data.sent(a).hits(a).is("established"),
			finack.sent(a).ends(a).is("closing"),
			data.sent(a).hits(a).is("closing"),
			finack.sent(a).hits(a).is("closing"),
			reset.sent(a).hits(a).is("closing"),
			data.sent(a).hits(a).is("closing"))},
		{"RST of the client, which may be forged", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a), data.sent(a).hits(a), reset.sent(a).ends(a).is("closing"),
			data.sent(a).hits(a).is("closing"))},
		{"RST to an embryonic flow", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a), reset.sent(a).ends(a).is("closed"))},
		{"SYN on a closed flow picks anew", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a), reset.sent(a).ends(a), s.sent(b).opens(b).is("embryonic"))},
		{"SYN on a closing flow picks anew", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a), data.sent(a).hits(a), finack.sent(a).ends(a), s.sent(b).opens(b).is("embryonic"))},
		{"SYN on an established flow stays", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a), data.sent(a).hits(a), s.sent(a).hits(a).is("established"))},
		{"SYN and ACK together do not establish", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a), s.carrying(syn|ack).sent(a).hits(a).is("embryonic"))},
		{"SYN and ACK without flow", one(a), list(s.carrying(syn | ack).sent(a).opens(a).is("embryonic"))},
		{"ACK without flow", one(a), list(data.sent(a).opens(a).is("embryonic"), data.sent(a).hits(a).is("established"))},
		{"FIN without flow", one(a), list(finack.sent(a).move(a, counts{flows: 1, packets: 1, bytes: int64(len(finack.bytes()))}).is("closing"))},
		{"RST without flow", one(a), list(reset.sent(a).move(a, counts{flows: 1, packets: 1, bytes: int64(len(reset.bytes()))}).is("closed"))},
		{"no flags at all", one(a), list(s.carrying(0).sent(a).opens(a).is("embryonic"))},
		{"all flags at once", one(a), list(s.carrying(0xff).sent(a).
			move(a, counts{flows: 1, packets: 1, bytes: int64(len(s.carrying(0xff).bytes()))}).is("closed"))},
		{"UDP from one packet to a stream", []service{twoBackends(u, v)}, list(
			q.sent(u).opens(u).is("embryonic"), q.sent(u).hits(u).is("stream"), q.sent(u).hits(u).is("stream"))},
		{"another port is another flow", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a), second.sent(b).opens(b), data.sent(a).hits(a), second.carrying(ack).sent(b).hits(b))},
		{"a flow outlives its backend in the table", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a),
			data.sent(a).hits(a).is("established").after(apply(drained)),
			second.sent(b).opens(b),
			finack.sent(a).ends(a))},
		{"a flow outlives its backend in the service", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a),
			data.sent(a).hits(a).is("established").after(apply(onlyB)),
			second.sent(b).opens(b),
			reset.sent(a).ends(a))},
		{"a flow outlives its service", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a),
			data.sent(a).hits(a).is("established").after(apply()),
			second.passed("not_vip"),
			reset.sent(a).ends(a))},
		{"a UDP flow outlives its backend in the table", []service{twoBackends(u, v)}, list(
			q.sent(u).opens(u),
			q.sent(u).hits(u).is("stream").after(apply(service{vip: f.dns, forward: u.forward, backends: addrs(u.at, v.at), table: []uint32{1}})))},
		{"a flow outlives a change to l7", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a),
			data.sent(a).hits(a).after(apply(service{vip: f.web, forward: lb.L7})),
			second.passed("local"))},
		{"an empty table keeps its flows", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a),
			data.sent(a).hits(a).after(apply(service{vip: f.web, forward: a.forward, backends: addrs(a.at, b.at), table: []uint32{}})),
			second.dropped("no_backend"))},
		{"a closed flow and a table without backends", []service{twoBackends(a, b)}, list(
			s.sent(a).opens(a), reset.sent(a).ends(a),
			s.dropped("no_backend").after(apply(service{vip: f.web, forward: a.forward, backends: addrs(a.at, b.at), table: []uint32{}})))},
	}
}

// idle makes flows older and then sweeps.
func idle(by time.Duration) func(*testing.T, *lab) {
	return func(t *testing.T, l *lab) {
		l.age(t, by)
		if _, err := l.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
}

// idleCases: when a flow is forgotten. Times are to the clock's 4.3 s.
func idleCases(f family) []packetCase {
	a, b := nat(f.web, f.a), nat(f.web, f.b)
	u, v := nat(f.dns, f.a), nat(f.dns, f.b)
	tcps, udps := []service{twoBackends(a, b)}, []service{twoBackends(u, v)}
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	data, finack := s.carrying(ack), s.carrying(fin|ack)
	q := packet(udp, f.client, at(f.dns))
	return []packetCase{
		{"embryonic is kept for 30 s", tcps, list(
			s.sent(a).opens(a), s.sent(a).hits(a).after(idle(25*time.Second)))},
		{"embryonic is forgotten after 30 s", tcps, list(
			s.sent(a).opens(a), s.sent(b).opens(b).after(idle(40*time.Second)))},
		{"one UDP packet is forgotten after 30 s", udps, list(
			q.sent(u).opens(u), q.sent(v).opens(v).after(idle(40*time.Second)))},
		{"a UDP stream is kept for 60 s", udps, list(
			q.sent(u).opens(u), q.sent(u).hits(u), q.sent(u).hits(u).after(idle(50*time.Second)).is("stream"))},
		{"a UDP stream is forgotten after 60 s", udps, list(
			q.sent(u).opens(u), q.sent(u).hits(u), q.sent(v).opens(v).after(idle(70*time.Second)))},
		{"established is kept for 15 min", tcps, list(
			s.sent(a).opens(a), data.sent(a).hits(a), data.sent(a).hits(a).after(idle(890*time.Second)))},
		{"established is forgotten after 15 min", tcps, list(
			s.sent(a).opens(a), data.sent(a).hits(a), s.sent(b).opens(b).after(idle(920*time.Second)))},
		{"packets keep established alive", tcps, list(
			s.sent(a).opens(a), data.sent(a).hits(a),
			data.sent(a).hits(a).after(idle(500*time.Second)), data.sent(a).hits(a).after(idle(500*time.Second)))},
		{"packets keep closing alive", tcps, list(
			s.sent(a).opens(a), finack.sent(a).ends(a),
			data.sent(a).hits(a).after(idle(50*time.Second)),
			data.sent(a).hits(a).after(idle(50*time.Second)).is("closing"))},
		{"closing is forgotten after 60 s", tcps, list(
			s.sent(a).opens(a), finack.sent(a).ends(a), s.sent(b).opens(b).after(idle(70*time.Second)))},
		{"closed is forgotten at once", tcps, list(
			s.sent(a).opens(a), s.carrying(rst).sent(a).ends(a),
			a.reply(s).passed("not_vip").after(idle(10*time.Second)).of(s, none))},
		{"replies keep a flow alive", tcps, list(
			s.sent(a).opens(a), data.sent(a).hits(a),
			a.reply(s).answered(a).replies(a).after(idle(500*time.Second)),
			data.sent(a).hits(a).after(idle(500*time.Second)))},
		{"replies keep a UDP stream alive", udps, list(
			q.sent(u).opens(u), q.sent(u).hits(u),
			u.reply(q).answered(u).replies(u).after(idle(50*time.Second)),
			u.reply(q).answered(u).replies(u).after(idle(50*time.Second)).of(q, "stream"))},
	}
}

// changeCases: what a flow does when its service forwards another way.
func changeCases(f family) []packetCase {
	d, n := dsr(f.web, f.a), nat(f.web, f.a)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	second := packet(tcp, f.other, at(f.web)).carrying(syn)
	return []packetCase{
		{"a flow keeps DSR when its service turns to NAT", one(d), list(
			s.sent(d).opens(d),
			second.sent(n).opens(n).after(apply(one(n)...)),
			s.carrying(ack).sent(d).hits(d))},
		{"a flow keeps NAT when its service turns to DSR", one(n), list(
			s.sent(n).opens(n),
			second.sent(d).opens(d).after(apply(one(d)...)),
			n.reply(s).carrying(syn|ack).answered(n).replies(n),
			s.carrying(ack).sent(n).hits(n))},
	}
}
