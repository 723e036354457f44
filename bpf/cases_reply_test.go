package bpf_test

import (
	"slices"
	"testing"
	"time"

	"weir/loader/lb"
)

// replyCases: what backends that are NATed to send.
func replyCases(f family) []packetCase {
	web, dns := nat(f.web, f.a), nat(f.dns, f.a)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	q := packet(udp, f.client, at(f.dns))
	r := web.reply(s)
	from := func(t target, f frame, client step) []step { return list(f.sent(t).opens(t), client) }
	far := packet(tcp, f.far, at(f.web)).carrying(syn)
	lost := packet(tcp, f.lost, at(f.web)).carrying(syn)
	narrow := packet(tcp, f.narrow, at(f.web)).carrying(syn)
	blocked := packet(tcp, f.blocked, at(f.web)).carrying(syn)
	tooBig := web.reply(narrow).with(make([]byte, f.minMTU))
	return []packetCase{
		{"reply: SYN and ACK", one(web), from(web, s, r.carrying(syn|ack).answered(web).replies(web).of(s, "embryonic"))},
		{"reply: data", one(web), from(web, s, r.answered(web).replies(web))},
		{"reply: UDP", one(dns), from(dns, q, dns.reply(q).answered(dns).replies(dns))},
		{"reply: FIN leaves the flow to the client", one(web), list(
			s.sent(web).opens(web), s.carrying(ack).sent(web).hits(web),
			r.carrying(fin|ack).answered(web).replies(web).of(s, "established"),
			s.carrying(ack).sent(web).hits(web))},
		{"reply: RST closes", one(web), list(
			s.sent(web).opens(web), s.carrying(ack).sent(web).hits(web),
			r.carrying(rst).answered(web).resets(web).of(s, "closed"))},
		{"reply: RST closes an embryonic flow", one(web), list(
			s.sent(web).opens(web), r.carrying(rst|ack).answered(web).resets(web).of(s, "closed"))},
		{"reply: a second RST counts nothing", one(web), list(
			s.sent(web).opens(web), r.carrying(rst).answered(web).resets(web),
			r.carrying(rst).answered(web).replies(web).of(s, "closed"))},
		{"reply: padded", one(web), from(web, s, r.with(nil).padded(9, 9, 9, 9, 9, 9).answered(web).replies(web))},
		{"reply: large", one(web), from(web, s, r.with(make([]byte, 1440)).answered(web).replies(web))},
		{"reply: wrong checksum stays as wrong", one(web), from(web, s, r.wrong(7).answered(web).replies(web))},
		{"reply: to a client behind another interface", one(web), from(web, far,
			web.reply(far).step(redirect, web.backFar(web.reply(far)), "").replies(web))},
		{"reply: client without neighbour entry", one(web), from(web, lost,
			web.reply(lost).handed(web, "no_neighbour").replies(web))},
		{"reply: larger than the route's MTU", one(web), from(web, narrow, tooBig.handed(web, "too_big").replies(web))},
		{"reply: as large as the route's MTU", one(web), from(web, narrow,
			web.reply(narrow).with(make([]byte, f.minMTU-headers(f)-20)).answered(web).replies(web))},
		{"reply: client in a blackhole", one(web), from(web, blocked, web.reply(blocked).step(drop, web.backLocal(web.reply(blocked)), "drop no_route").replies(web))},
		{"reply: in by an interface that does not forward", one(web), from(web, s,
			r.step(drop, web.backLocal(r), "drop no_forwarding").on("off0").replies(web))},
		{"reply: the backend's other ports are its own", one(web), from(web, s,
			r.source(port(f.a, 8081)).passed("not_vip"))},
		{"reply: the port in the other protocol", one(web), from(web, s,
			packet(udp, port(f.a, 8080), f.client).passed("not_vip"))},
		{"reply: from a host that is no backend", one(web), from(web, s, r.source(port(f.b, 8080)).passed("not_vip"))},
		{"reply: from a backend that drains", one(web), from(web, s,
			r.answered(web).replies(web).after(apply(service{vip: f.web, forward: lb.NAT, backends: addrs(web.at), table: []uint32{}})))},
		{"reply: from a backend that is gone from the configuration", one(web), from(web, s,
			r.answered(web).replies(web).after(apply(one(nat(f.web, f.b))...)))},
		{"backend's answer to the balancer itself", one(web), list(
			packet(tcp, port(f.a, 8080), f.own).carrying(syn | ack).passed("not_vip"))},
		{"a backend's answer to who talks to it directly", one(web), from(web, s,
			r.dest(port(f.client.Addr(), 9)).passed("not_vip"))},
		{"a backend's reset to who talks to it directly", one(web), from(web, s,
			r.dest(f.far).carrying(rst).passed("not_vip").of(s, "embryonic"))},
		{"a packet of a flow that another backend has", []service{twoBackends(web, nat(f.web, f.b))}, from(web, s,
			nat(f.web, f.b).reply(s).carrying(rst).passed("not_vip").of(s, "embryonic"))},
		{"a backend that is a client of another service", append(one(web), one(dsr(f.web2, f.b))...), list(
			packet(tcp, port(f.a, 50000), at(f.web2)).carrying(syn).sent(dsr(f.web2, f.b)).opens(dsr(f.web2, f.b)))},
		{"DSR backends' packets are their own", one(dsr(f.web, f.a)), list(
			s.sent(dsr(f.web, f.a)).opens(dsr(f.web, f.a)),
			packet(tcp, port(f.a, 80), f.client).passed("not_vip"))},
	}
}

func headers(f family) int {
	if f.client.Addr().Is4() {
		return 20
	}
	return 40
}

// sharedCases: two services NAT to the same real, so that a reply alone does
// not tell its VIP.
func sharedCases(f family) []packetCase {
	one1, two := nat(f.web, f.a), nat(f.web2, f.a)
	both := slices.Concat(one(one1), one(two))
	s1 := packet(tcp, f.client, at(f.web)).carrying(syn)
	s2 := packet(tcp, f.other, at(f.web2)).carrying(syn)
	same := packet(tcp, f.client, at(f.web2)).carrying(syn)
	return []packetCase{
		{"shared real: replies carry the right VIP", both, list(
			s1.sent(one1).opens(one1), s2.sent(two).opens(two),
			one1.reply(s1).answered(one1).replies(one1),
			two.reply(s2).answered(two).replies(two))},
		{"shared real: the same client port to both VIPs", both, list(
			s1.sent(one1).opens(one1),
			same.dropped("nat_conflict").is(none),
			one1.reply(s1).answered(one1).replies(one1))},
		{"shared real: the port is free again after RST", both, list(
			s1.sent(one1).opens(one1), s1.carrying(rst).sent(one1).ends(one1),
			same.sent(two).opens(two),
			two.reply(same).answered(two).replies(two))},
		{"shared real: the port is free again after the backend's RST", both, list(
			s1.sent(one1).opens(one1), one1.reply(s1).carrying(rst).answered(one1).resets(one1),
			same.sent(two).opens(two),
			two.reply(same).answered(two).replies(two))},
		{"shared real: replies after the client's FIN", both, list(
			s1.sent(one1).opens(one1), s2.sent(two).opens(two),
			s2.carrying(fin|ack).sent(two).ends(two),
			two.reply(s2).answered(two).replies(two).is("closing"))},
		{"shared real: answers to who talks to it directly", both, list(
			s1.sent(one1).opens(one1),
			one1.reply(s1).dest(f.far).passed("not_vip"),
			packet(tcp, one1.at, f.own).passed("not_vip"))},
		{"shared real: of a flow that has expired", both, list(
			s1.sent(one1).opens(one1),
			one1.reply(s1).passed("not_vip").after(expireRequests).of(s1, none))},
		{"shared real: sharing begins after the flow", one(two), list(
			s2.sent(two).opens(two),
			two.reply(s2).answered(two).replies(two).after(apply(both...)),
			s1.sent(one1).opens(one1),
			one1.reply(s1).answered(one1).replies(one1))},
	}
}

// expireRequests lets embryonic flows expire, but not yet their replies.
func expireRequests(t *testing.T, l *lab) {
	t.Helper()
	l.age(t, time.Minute)
	if _, err := l.Sweep(); err != nil {
		t.Fatal(err)
	}
}
