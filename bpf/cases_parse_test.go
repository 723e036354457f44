package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"weir/loader/lb"
)

// raw is a frame that is not of our making.
func raw(etherType uint16, payload ...byte) step {
	b := slices.Concat(broadcast[:], gatewayMAC[:], binary.BigEndian.AppendUint16(nil, etherType), payload)
	return step{in: b, out: b, ingress: "in0", verdict: pass, reason: "pass not_ip",
		check: packet(tcp, ip4.client, at(ip4.web)).key()}
}

// ethernetCases: frames whose IP header is not looked at.
func ethernetCases() []packetCase {
	d4, d6 := dsr(ip4.web, ip4.a), dsr(ip6.web, ip6.a)
	s4 := packet(tcp, ip4.client, at(ip4.web)).carrying(syn)
	s6 := packet(tcp, ip6.client, at(ip6.web)).carrying(syn)
	arp := make([]byte, 46)
	copy(arp, []byte{0, 1, 8, 0, 6, 4, 0, 1})
	copy(arp[24:], ip4.web.Addr.AsSlice()) // who has the VIP?
	return []packetCase{
		{"ARP for the VIP", one(d4), list(raw(0x0806, arp...))},
		{"LLDP", one(d4), list(raw(0x88cc, 2, 7, 4))},
		{"MPLS", one(d4), list(raw(0x8847, 0, 0, 1, 64, 0x45))},
		{"PPPoE", one(d4), list(raw(0x8864, 0x11, 0, 0, 1))},
		{"IEEE 802.3 length", one(d4), list(raw(38, make([]byte, 38)...))},
		{"Ethernet header alone", one(d4), list(raw(0x1234))},
		{"IPv4 in a VLAN", one(d4), list(s4.tagged(0x8100).passed("vlan").is(none))},
		{"IPv6 in a VLAN", one(d6), list(s6.tagged(0x8100).passed("vlan").is(none))},
		{"QinQ", one(d4), list(s4.tagged(0x88a8, 0x8100).passed("vlan").is(none))},
		{"VLAN in a VLAN", one(d4), list(s4.tagged(0x8100, 0x8100).passed("vlan").is(none))},
		{"QinQ of before the standard", one(d4), list(s4.tagged(0x9100).passed("not_ip").is(none))},
		{"VLAN tag alone", one(d4), list(func() step { s := raw(0x8100); s.reason = "pass vlan"; return s }())},
		{"IPv6 announced as IPv4", one(d6), list(s6.lying(atL2, 12, 8, 0).passed("malformed").is(none))},
		{"IPv4 announced as IPv6", one(d4), list(s4.lying(atL2, 12, 0x86, 0xdd).passed("malformed").is(none))},
	}
}

// protocolCases: what is neither TCP nor UDP nor ICMP is passed, for a VIP too.
func protocolCases(f family) []packetCase {
	web := one(dsr(f.web, f.a))
	var out []packetCase
	for _, p := range []struct {
		name  string
		proto uint8
	}{{"IGMP", 2}, {"GRE", 47}, {"ESP", 50}, {"AH", 51}, {"SCTP", 132}, {"IPIP", 4}, {"protocol 255", 255}} {
		out = append(out,
			packetCase{p.name + " to a VIP", web, list(packet(p.proto, f.client, at(f.web)).passed("not_vip").is(none))},
			packetCase{p.name + " to a stranger", web, list(packet(p.proto, f.client, f.stranger).passed("not_vip").is(none))},
		)
	}
	return out
}

// lyingCases: headers that lie about lengths. To a VIP they are dropped, to
// others passed, and nothing is rewritten.
func lyingCases(f family) []packetCase {
	services := append(one(nat(f.web, f.a)), one(nat(f.dns, f.a))...)
	s := packet(tcp, f.client, at(f.web))
	q := packet(udp, f.client, at(f.dns))
	type bad struct {
		name string
		in   frame
	}
	list4 := []bad{
		{"version 6", s.lying(atL3, 0, 0x65)},
		{"version 0", s.lying(atL3, 0, 0x05)},
		{"IHL 0", s.lying(atL3, 0, 0x40)},
		{"IHL 4", s.lying(atL3, 0, 0x44)},
		{"IHL 15 in a packet of 40 bytes", s.with(nil).lying(atL3, 0, 0x4f)},
		{"total length 0", s.lying(atL3, 2, 0, 0)},
		{"total length 19", s.lying(atL3, 2, 0, 19)},
		{"total length of the header alone", s.lying(atL3, 2, 0, 20)},
		{"total length within the TCP header", s.lying(atL3, 2, 0, 39)},
		{"total length one too long", s.lying(atL3, 2, 0, byte(len(s.bytes())-14+1))},
		{"total length 65535", s.lying(atL3, 2, 0xff, 0xff)},
		{"total length within the UDP header", q.lying(atL3, 2, 0, 27)},
		{"total length within the UDP data", q.lying(atL3, 2, 0, 29)},
	}
	list6 := []bad{
		{"version 4", s.lying(atL3, 0, 0x40)},
		{"version 7", s.lying(atL3, 0, 0x70)},
		{"payload length 0", s.lying(atL3, 4, 0, 0)},
		{"payload length within the TCP header", s.lying(atL3, 4, 0, 19)},
		{"payload length one too long", s.lying(atL3, 4, 0, byte(len(s.bytes())-54+1))},
		{"payload length 65535", s.lying(atL3, 4, 0xff, 0xff)},
		{"payload length within the UDP header", q.lying(atL3, 4, 0, 7)},
		{"payload length within the UDP data", q.lying(atL3, 4, 0, 9)},
		{"payload length within an extension", s.ext(destinations, 1).lying(atL3, 4, 0, 9)},
		{"an extension longer than the packet", s.ext(destinations, 0).lying(atL3, 41, 255)},
		{"an extension that ends within the TCP header", s.with(nil).ext(destinations, 0).lying(atL3, 41, 1)},
		{"an extension one byte long", s.with(nil).ext(hopByHop, 0).lying(atL3, 4, 0, 1)},
	}
	both := []bad{
		{"data offset 0", s.lying(atL4, 12, 0x00)},
		{"data offset 4", s.lying(atL4, 12, 0x40)},
		{"data offset one word beyond the packet", s.with(nil).lying(atL4, 12, 0x60)},
		{"data offset 15", s.lying(atL4, 12, 0xf0)},
		{"UDP length 0", q.lying(atL4, 4, 0, 0)},
		{"UDP length 7", q.lying(atL4, 4, 0, 7)},
		{"UDP length one too long", q.lying(atL4, 4, 0, byte(8+len(q.payload)+1))},
		{"UDP length 65535", q.lying(atL4, 4, 0xff, 0xff)},
	}
	bads := append(both, list4...)
	if f.client.Addr().Is6() {
		bads = append(both, list6...)
	}
	var out []packetCase
	for _, b := range bads {
		stranger := b.in.dest(port(f.stranger.Addr(), b.in.to.Port()))
		out = append(out, packetCase{b.name, services, list(
			b.in.dropped("malformed").is(none), stranger.passed("malformed").is(none))})
	}
	return out
}

// looseCases: odd packets that are whole nevertheless.
func looseCases(f family) []packetCase {
	web, dns := dsr(f.web, f.a), dsr(f.dns, f.a)
	s := packet(tcp, f.client, at(f.web))
	q := packet(udp, f.client, at(f.dns))
	return []packetCase{
		{"data offset into the data", one(web), list(s.lying(atL4, 12, 0x60).sent(web).opens(web))},
		{"UDP length shorter than the packet", one(dns), list(q.lying(atL4, 4, 0, 10).sent(dns).opens(dns))},
		{"UDP length 8 with data", one(dns), list(q.lying(atL4, 4, 0, 8).sent(dns).opens(dns))},
	}
}

// header4Cases: IPv4 options, flags and fragments.
func header4Cases(mode func(lb.VIP, netip.Addr) target) []packetCase {
	f := ip4
	web, dns := mode(f.web, f.a), mode(f.dns, f.a)
	services := append(one(web), one(dns)...)
	s := packet(tcp, f.client, at(f.web))
	q := packet(udp, f.client, at(f.dns))
	fragment := func(in frame) []step {
		return list(in.dropped("fragment").is(none), in.dest(f.stranger).passed("not_vip"))
	}
	return []packetCase{
		{"one word of options", services, list(s.ip4Options(1, 1, 1, 0).sent(web).opens(web))},
		{"router alert, UDP", services, list(q.ip4Options(148, 4, 0, 0).sent(dns).opens(dns))},
		{"40 bytes of options", services, list(s.ip4Options(make([]byte, 40)...).sent(web).opens(web))},
		{"options of TCP and IP", services, list(
			s.ip4Options(1, 1, 1, 0).options4(1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2).sent(web).opens(web))},
		{"do not fragment", services, list(s.frag(0x4000).sent(web).opens(web))},
		{"the reserved flag", services, list(s.frag(0x8000).sent(web).opens(web))},
		{"middle fragment", services, fragment(s.frag(0x2000 | 185))},
		{"last fragment", services, fragment(s.frag(185))},
		{"fragment with the largest offset", services, list(s.frag(0x1fff).dropped("malformed"), s.frag(0x1fff).dest(f.stranger).passed("malformed"))},
		{"last fragment of UDP", services, fragment(q.frag(1))},
		{"fragment of ICMP", services, list(packet(icmp, f.client, at(f.web)).frag(0x2000).passed("not_vip"))},
		{"last fragment of ICMP", services, list(packet(icmp, f.client, at(f.web)).frag(3).passed("not_vip"))},
		{"echo after options", services, list(packet(icmp, f.client, at(f.web)).ip4Options(1, 1, 1, 0).echoed())},
		{"fragment of TCP where only UDP is served", one(dns), list(s.frag(0x2000).passed("not_vip"))},
		{"fragment to a VIP of every port", one(mode(f.all, f.a)), list(
			s.dest(port(f.all.Addr, 7)).frag(185).dropped("fragment"))},
	}
}

// header6Cases: IPv6 extension headers and fragments.
func header6Cases(mode func(lb.VIP, netip.Addr) target) []packetCase {
	f := ip6
	web, dns := mode(f.web, f.a), mode(f.dns, f.a)
	services := append(one(web), one(dns)...)
	s := packet(tcp, f.client, at(f.web))
	q := packet(udp, f.client, at(f.dns))
	fragment := func(in frame) []step {
		return list(in.dropped("fragment").is(none), in.dest(f.stranger).passed("not_vip"))
	}
	four := s.ext(hopByHop, 0).ext(destinations, 1).ext(routing, 2).ext(destinations, 0)
	five := four.ext(destinations, 0)
	return []packetCase{
		{"hop-by-hop options", services, list(s.ext(hopByHop, 0).sent(web).opens(web))},
		{"routing header", services, list(s.ext(routing, 1).sent(web).opens(web))},
		{"destination options", services, list(q.ext(destinations, 3).sent(dns).opens(dns))},
		{"an extension of 2,048 bytes", services, list(q.ext(destinations, 255).with(nil).sent(dns).opens(dns))},
		{"three extensions", services, list(s.ext(hopByHop, 0).ext(routing, 0).ext(destinations, 0).sent(web).opens(web))},
		{"four extensions", services, list(four.sent(web).opens(web))},
		{"five extensions", services, list(five.dropped("extensions").is(none), five.dest(f.stranger).passed("not_vip"))},
		{"six extensions, UDP", services, list(
			q.ext(hopByHop, 0).ext(destinations, 0).ext(destinations, 0).ext(destinations, 0).ext(destinations, 0).ext(destinations, 0).
				dropped("extensions").is(none))},
		{"echo after four extensions", services, list(
			packet(icmp6, f.client, at(f.web)).ext(hopByHop, 0).ext(destinations, 0).ext(destinations, 0).ext(destinations, 0).echoed())},
		{"no next header", services, list(packet(noNext, f.client, at(f.web)).passed("not_vip"))},
		{"no next header after an extension", services, list(packet(noNext, f.client, at(f.web)).ext(destinations, 0).passed("not_vip"))},
		{"authentication header", services, list(packet(51, f.client, at(f.web)).ext(hopByHop, 0).passed("not_vip"))},
		{"middle fragment", services, fragment(s.frag6(1480, true))},
		{"fragment of UDP where TCP is served", one(web), list(q.frag6(0, true).passed("not_vip"), q.frag6(80, false).passed("not_vip"))},
		{"last fragment", services, fragment(s.frag6(1480, false))},
		{"flow label and traffic class are kept", services, list(s.class(0xff).sent(web).opens(web))},
	}
}
