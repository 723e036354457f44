package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"weir/loader/lb"
)

// tunnel is what outer headers look like in all labs.
var tunnel = lb.Tunnel{
	GUEPort: 6080,
	Source4: netip.MustParsePrefix("172.16.0.0/16"),
	Source6: netip.MustParsePrefix("2001:db8:cafe:1::/64"),
}

const (
	inIP4 = 4  // IPv4 in IP (RFC 2003)
	inIP6 = 41 // IPv6 in IP (RFC 4213)
)

// pairing is a family in a tunnel over another.
type pairing struct{ inner, outer family }

var pairings = []pairing{{ip4, ip4}, {ip6, ip6}, {ip4, ip6}, {ip6, ip4}}

// ipip and gue reach a backend, named by its address in the inner family, over
// the outer one.
func (p pairing) ipip(v lb.VIP, a netip.Addr) target { return target{v, port(p.over(a), 0), lb.IPIP} }
func (p pairing) gue(v lb.VIP, a netip.Addr) target  { return target{v, port(p.over(a), 0), lb.GUE} }

func (p pairing) over(a netip.Addr) netip.Addr {
	b := p.outer.a.AsSlice()
	inner := a.AsSlice()
	b[len(b)-1] = inner[len(inner)-1]
	out, _ := netip.AddrFromSlice(b)
	return out
}

// around is the tunnel's packet around f, of which only the flow's hash is
// taken from what the program made.
func (t target) around(f frame, got []byte) []byte {
	hash, ok := outerHash(t, got)
	if !ok {
		return nil
	}
	inner := f.bytes()
	inner = inner[14 : len(inner)-len(f.padding)]
	source := tunnel.Source4.Addr().AsSlice()
	binary.BigEndian.PutUint16(source[2:], uint16(hash))
	if t.at.Addr().Is6() {
		source = tunnel.Source6.Addr().AsSlice()
		binary.NativeEndian.PutUint32(source[12:], hash)
	}
	from, _ := netip.AddrFromSlice(source)
	proto := uint8(inIP4)
	if f.from.Addr().Is6() {
		proto = inIP6
	}
	outer := packet(proto, port(from, 0xc000|uint16(hash)&0x3fff), port(t.at.Addr(), tunnel.GUEPort))
	if t.forward == lb.GUE {
		outer.proto = udp
	}
	outer.ident, outer.label, outer.fragment = 0, hash&0xfffff, 0x4000
	outer = outer.unchecked().class(f.tos).with(inner).padded(f.padding...)
	framed := t.through(f)
	return outer.mac(framed.dst, framed.src).bytes()
}

// outerHash is what the source address of a tunnel's packet has of the flow's
// hash: 16 or 32 bits.
func outerHash(t target, got []byte) (uint32, bool) {
	switch {
	case t.at.Addr().Is4() && len(got) >= 14+20:
		return uint32(binary.BigEndian.Uint16(got[14+14:])), true
	case t.at.Addr().Is6() && len(got) >= 14+40:
		return binary.NativeEndian.Uint32(got[14+20:]), true
	}
	return 0, false
}

// tunnelCases: what the outer header has from the inner one.
func tunnelCases(f family, mode func(lb.VIP, netip.Addr) target) []packetCase {
	web, dns := mode(f.web, f.a), mode(f.dns, f.a)
	services := append(one(web), one(dns)...)
	s := packet(tcp, f.client, at(f.web))
	q := packet(udp, f.client, at(f.dns))
	out := []packetCase{
		{"TTL 1 travels inside", services, list(s.ttl(1).sent(web).opens(web))},
		{"UDP without checksum travels inside", services, list(q.unchecked().sent(dns).opens(dns))},
		{"wrong checksums travel inside", services, list(s.wrong(3).sent(web).opens(web), q.wrong(3).sent(dns).opens(dns))},
		{"the backend's own packets", services, list(
			s.sent(web).opens(web), packet(tcp, at(f.web), f.client).passed("not_vip"))},
	}
	classes := packetCase{name: "DSCP and ECN are copied", services: services}
	for _, tos := range []uint8{0, 1, 2, 3, 4, 0x10, 0x28, 0xb8, 0xbb, 0xfc, 0xff} {
		q := q.source(port(f.client.Addr(), 3000+uint16(tos)))
		classes.steps = append(classes.steps, q.class(tos).sent(dns).opens(dns))
	}
	sizes := packetCase{name: "sizes and padding", services: services}
	for n := range 40 {
		q := q.source(port(f.client.Addr(), 3000+uint16(n))).with(make([]byte, n))
		sizes.steps = append(sizes.steps, q.sent(dns).opens(dns), q.padded(make([]byte, n)...).sent(dns).hits(dns))
	}
	if f.client.Addr().Is4() {
		return append(out, classes, sizes,
			packetCase{"flags and options stay inside", services, list(
				s.frag(0x4000).ip4Options(1, 1, 1, 0).sent(web).opens(web))})
	}
	return append(out, classes, sizes,
		packetCase{"extensions stay inside", services, list(
			s.ext(hopByHop, 0).ext(routing, 2).sent(web).opens(web))})
}

// tooBigCases: packets that do not fit the way to the backend with the outer
// headers, which is 1,500 bytes here.
func tooBigCases(f family, mode func(lb.VIP, netip.Addr) target) []packetCase {
	dns, web := mode(f.dns, f.a), mode(f.web, f.a)
	room := 1500 - overhead(dns)
	q := packet(udp, f.client, at(f.dns)).frag(0x4000)
	fits := q.with(make([]byte, room-headers(f)-8))
	big := q.with(make([]byte, room-headers(f)-8+1))
	stored := counts{flows: 1, active: 1}
	huge := packet(tcp, f.client, at(f.web)).frag(0x4000).with(make([]byte, 1900)).class(0xb8)
	refused := func(g frame, t target) step {
		return g.answered4or6(room).move(t, stored)
	}
	out := []packetCase{
		{"as large as fits", one(dns), list(fits.sent(dns).opens(dns))},
		{"as large as fits, padded", one(dns), list(fits.padded(1, 2, 3).sent(dns).opens(dns))},
		{"too big by one byte", one(dns), list(refused(big, dns))},
		{"too big of an established flow", one(web), list(
			packet(tcp, f.client, at(f.web)).carrying(syn).sent(web).opens(web), huge.answered4or6(room))},
		{"far too big", one(web), list(refused(huge, web))},
		{"too big and padded", one(dns), list(refused(big.padded(1, 2, 3), dns))},
		{"too big by another interface", one(dns), list(refused(big.mac(outMAC, farMAC), dns).on("out0"))},
	}
	if f.client.Addr().Is6() {
		return append(out, packetCase{"too big with extensions", one(web), list(refused(huge.ext(destinations, 1), web))})
	}
	lost := func(g frame, t target) step { return g.dropped("too_big").move(t, stored) }
	return append(out,
		packetCase{"too big, may be fragmented", one(dns), list(lost(big.frag(0), dns))},
		packetCase{"too big with options", one(dns), list(lost(big.ip4Options(1, 1, 1, 0), dns))})
}

func overhead(t target) int {
	n := 20
	if t.at.Addr().Is6() {
		n = 40
	}
	if t.forward == lb.GUE {
		n += 8
	}
	return n
}

// answered4or6 is a packet that is too big and is said so (RFC 1191; RFC 4443,
// 3.2): its header and the first 8 bytes after it come back.
func (f frame) answered4or6(mtu int) step {
	quoted := f.bytes()[14:]
	a := packet(icmp, f.to, f.from).mac(f.src, f.dst)
	a.ident = 0
	if f.from.Addr().Is4() {
		a = a.message(3, 4, uint32(mtu), quoted[:20+8])
	} else {
		a.proto, a.label = icmp6, 0
		a = a.message(2, 0, uint32(mtu), quoted[:40+8])
	}
	s := f.step(tx, a, "drop too_big,sent too_big")
	return s.after(func(t *testing.T, l *lab) {
		if err := l.nextAnswers(); err != nil {
			t.Fatal(err)
		}
	})
}
