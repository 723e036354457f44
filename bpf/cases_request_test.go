package bpf_test

import (
	"net/netip"

	"weir/loader/lb"
)

func list(steps ...step) []step                  { return steps }
func addrs(a ...netip.AddrPort) []netip.AddrPort { return a }

// one is a service with one backend.
func one(t target) []service {
	return []service{{vip: t.vip, forward: t.forward, backends: addrs(t.at)}}
}

var broadcast = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// requestCases: what a client sends to a VIP.
func requestCases(f family, mode func(lb.VIP, netip.Addr) target) []packetCase {
	web, dns := mode(f.web, f.a), mode(f.dns, f.a)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	q := packet(udp, f.client, at(f.dns))
	away, unknown := mode(f.web, f.away), mode(f.web, f.unknown)
	large := 1460
	if web.forward.Tunnel() {
		large = 1380
	}
	return []packetCase{
		{"TCP SYN", one(web), list(s.sent(web).opens(web).is("embryonic"))},
		{"TCP with data", one(web), list(
			s.sent(web).opens(web),
			s.carrying(ack).with([]byte("GET / HTTP/1.1\r\n\r\n!")).sent(web).hits(web).is("established"))},
		{"UDP datagram", one(dns), list(q.sent(dns).opens(dns).is("embryonic"))},
		{"UDP without data", one(dns), list(q.with(nil).sent(dns).opens(dns))},
		{"UDP to the same flow", one(dns), list(q.sent(dns).opens(dns), q.sent(dns).hits(dns).is("stream"))},
		{"backend behind another interface", one(away), list(s.redirected(away).opens(away))},
		{"in by the interface where the backend is not", one(web), list(
			s.mac(outMAC, farMAC).forwarded(redirect, web).on("out0").opens(web))},
		{"backend whose MAC address is unknown", one(unknown), list(
			s.dropped("no_next_hop").move(unknown, counts{flows: 1, active: 1}))},
		{"TTL 255", one(web), list(s.ttl(255).sent(web).opens(web))},
		{"TTL 2", one(web), list(s.ttl(2).sent(web).opens(web))},
		{"TTL 0", one(web), list(s.ttl(0).dropped("ttl").move(web, counts{flows: 1, active: 1}))},
		{"traffic class is kept", one(web), list(s.class(0xb8).sent(web).opens(web))},
		{"frame padded to 60 bytes", one(web), list(s.padded(1, 2, 3, 4, 5, 6).sent(web).opens(web))},
		{"UDP frame with long padding", one(dns), list(q.with([]byte("?")).padded(make([]byte, 100)...).sent(dns).opens(dns))},
		{"to the broadcast MAC address", one(web), list(s.mac(broadcast, gatewayMAC).sent(web).opens(web))},
		{"to a multicast MAC address", one(web), list(s.mac(mac{1, 0, 0x5e, 0, 0, 1}, gatewayMAC).sent(web).opens(web))},
		{"TCP options", one(web), list(s.options4(2, 4, 5, 0xb4, 4, 2, 1, 1, 1, 3, 3, 7).sent(web).opens(web))},
		{"40 bytes of TCP options", one(web), list(s.options4(make([]byte, 40)...).sent(web).opens(web))},
		{"data in the SYN (TCP fast open)", one(web), list(s.with([]byte("early")).sent(web).opens(web))},
		{"wrong TCP checksum stays as wrong", one(web), list(s.wrong(0x1234).sent(web).opens(web))},
		{"wrong UDP checksum stays as wrong", one(dns), list(q.wrong(0xfffe).sent(dns).opens(dns))},
		{"large packet", one(web), list(
			s.carrying(ack).with(make([]byte, large)).sent(web).opens(web))},
		{"client port 0 and 65535", one(web), list(
			packet(tcp, port(f.client.Addr(), 0), at(f.web)).carrying(syn).sent(web).opens(web),
			packet(tcp, port(f.client.Addr(), 65535), at(f.web)).carrying(syn).sent(web).opens(web))},
		{"no backend in the table", []service{{vip: f.web, forward: web.forward, backends: addrs(web.at), table: []uint32{}}},
			list(s.dropped("no_backend").is(none))},
		{"no backend at all", []service{{vip: f.web, forward: web.forward}}, list(s.dropped("no_backend").is(none))},
		{"no backend, UDP", []service{{vip: f.dns, forward: web.forward}}, list(q.dropped("no_backend").is(none))},
	}
}

// ttlCases: a router decrements TTL, DSR is a bridge and does not.
func ttlCases(f family) []packetCase {
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	d, n := dsr(f.web, f.a), nat(f.web, f.a)
	return []packetCase{
		{"DSR forwards TTL 1 as it is", one(d), list(s.ttl(1).sent(d).opens(d))},
		{"NAT drops TTL 1", one(n), list(s.ttl(1).dropped("ttl").move(n, counts{flows: 1, active: 1}))},
		{"NAT makes TTL 2 TTL 1", one(n), list(s.ttl(2).step(tx, n.through(s).ttl(1), "").opens(n))},
		{"NAT drops a reply of TTL 1", one(n), list(
			s.sent(n).opens(n), n.reply(s).ttl(1).dropped("ttl").of(s, "embryonic"))},
		{"NAT drops a reply of TTL 0", one(n), list(
			s.sent(n).opens(n), n.reply(s).ttl(0).dropped("ttl").of(s, "embryonic"))},
		{"NAT makes a reply of TTL 2 TTL 1", one(n), list(
			s.sent(n).opens(n), n.reply(s).ttl(2).answered(n).replies(n))},
	}
}

// serviceCases: which service a packet is for.
func serviceCases(f family) []packetCase {
	web := dsr(f.web, f.a)
	every, natEvery := dsr(f.all, f.a), target{f.all, port(f.b, 0), lb.NAT}
	exact := lb.VIP{Addr: f.all.Addr, Port: 443, Proto: lb.TCP}
	https := dsr(exact, f.c)
	both := append(one(every), one(https)...)
	l7 := []service{{vip: f.web, forward: lb.L7}}
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	to := func(p uint16) frame { return packet(tcp, f.client, port(f.all.Addr, p)).carrying(syn) }
	anyUDP := target{f.allUDP, port(f.b, 0), lb.NAT}
	return []packetCase{
		{"a stranger's address", one(web), list(packet(tcp, f.client, f.stranger).carrying(syn).passed("not_vip").is(none))},
		{"a stranger's UDP", one(web), list(packet(udp, f.client, f.stranger).passed("not_vip"))},
		{"from the VIP", one(web), list(packet(tcp, at(f.web), f.client).passed("not_vip"))},
		{"port without service", one(web), list(s.dest(port(f.web.Addr, 81)).passed("not_vip").is(none))},
		{"port with its bytes swapped", one(web), list(s.dest(port(f.web.Addr, 80<<8)).passed("not_vip"))},
		{"UDP to a TCP service", one(web), list(packet(udp, f.client, at(f.web)).passed("not_vip"))},
		{"TCP to a UDP service", one(dsr(f.dns, f.a)), list(packet(tcp, f.client, at(f.dns)).carrying(syn).passed("not_vip"))},
		{"no services", nil, list(s.passed("not_vip"))},
		{"every port: 1, 8443 and 65535", one(every), list(
			to(1).sent(every).opens(every), to(8443).sent(every).opens(every), to(65535).sent(every).opens(every))},
		{"every port: 0", one(every), list(to(0).sent(every).opens(every))},
		{"every port: not of UDP", one(every), list(packet(udp, f.client, port(f.all.Addr, 9)).passed("not_vip"))},
		{"every port: the exact one wins", both, list(
			to(443).sent(https).opens(https), to(444).sent(every).opens(every))},
		{"every port by NAT keeps the port", one(natEvery), list(
			to(8443).sent(natEvery).opens(natEvery),
			natEvery.reply(to(8443)).answered(natEvery).replies(natEvery))},
		{"every port by NAT, UDP", one(anyUDP), list(
			packet(udp, f.client, port(f.allUDP.Addr, 777)).sent(anyUDP).opens(anyUDP),
			anyUDP.reply(packet(udp, f.client, port(f.allUDP.Addr, 777))).answered(anyUDP).replies(anyUDP))},
		{"every port without backends", []service{{vip: f.all, forward: lb.NAT}}, list(to(5).dropped("no_backend"))},
		{"exact port without backends does not fall back", append([]service{{vip: exact, forward: lb.DSR}}, one(every)...), list(
			to(443).dropped("no_backend").is(none), to(444).sent(every).opens(every))},
		{"l7 is passed", l7, list(s.passed("local").is(none))},
		{"l7 beside DSR", append([]service{{vip: exact, forward: lb.L7}}, one(every)...), list(
			to(443).passed("local").is(none), to(80).sent(every).opens(every))},
	}
}
