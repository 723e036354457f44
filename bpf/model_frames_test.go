package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"weir/loader/lb"
)

// fieldsOf finds the IP header's addresses and the transport's begin in a frame
// that may be anything; ok if they are there.
func fieldsOf(b []byte) (src, dst, l4 []byte, ok bool) {
	switch {
	case len(b) < 14+20+8:
	case binary.BigEndian.Uint16(b[12:]) == etherIP4:
		at := 14 + int(b[14]&15)*4
		if len(b) >= at+8 {
			return b[26:30], b[30:34], b[at:], true
		}
	case binary.BigEndian.Uint16(b[12:]) == etherIP6 && len(b) >= 14+40+8:
		return b[22:38], b[38:54], b[54:], true
	}
	return nil, nil, nil, false
}

// again is a packet seen before, maybe with other TCP flags.
func (g *traffic) again() []byte {
	if len(g.sent) == 0 {
		return g.request().bytes(g)
	}
	b := slices.Clone(pick(g.chooser, g.sent))
	g.flag(b)
	return b
}

// flag changes TCP flags; the checksum stays as wrong as it was.
func (g *traffic) flag(b []byte) {
	if _, _, l4, ok := fieldsOf(b); ok && len(l4) > 13 && g.oneIn(2) && (b[23] == tcp || b[20] == tcp) {
		l4[13] = pick(g.chooser, []uint8{ack, ack, fin | ack, rst, rst | ack, syn, syn | ack})
	}
}

// turned swaps addresses and ports, which leaves checksums right.
func turned(b []byte) []byte {
	b = slices.Clone(b)
	src, dst, l4, ok := fieldsOf(b)
	if !ok {
		return b
	}
	for i := range src {
		src[i], dst[i] = dst[i], src[i]
	}
	l4[0], l4[1], l4[2], l4[3] = l4[2], l4[3], l4[0], l4[1]
	return b
}

// answer is what a backend, or a client, answers to what we sent it.
func (g *traffic) answer() []byte {
	if len(g.came) == 0 {
		return g.request().bytes(g)
	}
	b := turned(pick(g.chooser, g.came))
	g.flag(b)
	return b
}

// icmpError quotes what a backend sent to a client, what it got, or something
// else.
func (g *traffic) icmpError() []byte {
	quoted := g.request().bytes(g)
	switch {
	case len(g.came) > 0 && g.oneIn(4):
		quoted = pick(g.chooser, g.came)
	case len(g.sent) > 0 && !g.oneIn(8):
		quoted = turned(pick(g.chooser, g.sent))
	}
	src, _, _, ok := fieldsOf(quoted)
	if !ok {
		return quoted
	}
	from, _ := netip.AddrFromSlice(src)
	d := g.draft(g.family(from.Is4()).icmp())
	d.src, d.dst = g.client(from.Is4()), from
	if g.oneIn(16) {
		d.dst = pick(g.chooser, g.w.vips).Addr
		if d.dst.Is4() != from.Is4() {
			d.dst = from
		}
	}
	if b := g.backend(from.Is4()); b.IsValid() && g.oneIn(4) {
		d.src = b.Addr()
	}
	kind := pick(g.chooser, errorKinds(g.family(from.Is4())))
	cut := len(quoted) - 14
	if g.oneIn(2) {
		cut = min(cut, 20+g.n(60))
	}
	d.body = binary.BigEndian.AppendUint32([]byte{uint8(kind[0]), uint8(kind[1]), 0, 0}, kind[2])
	d.body = append(d.body, quoted[14:14+cut]...)
	return d.bytes(g)
}

// icmpOther is an echo or any other message, to a VIP or not.
func (g *traffic) icmpOther() []byte {
	d := g.request()
	d.proto = g.family(d.dst.Is4()).icmp()
	d.body = append([]byte{pick(g.chooser, []uint8{8, 128, 128, 8, 0, 129, 5, 13, 133, 135}), uint8(g.n(3)), 0, 0, 1, 2, 3, 4}, make([]byte, d.payload%64)...)
	if g.oneIn(8) {
		d.dst = g.client(d.dst.Is4())
	}
	return d.bytes(g)
}

// fragment makes a packet one of several.
func (g *traffic) fragment() []byte {
	d := g.request()
	offset := uint16(pick(g.chooser, []int{0, 0, 1, 2, 100, 0x1fff}))
	more := g.oneIn(2)
	if d.dst.Is4() {
		d.frag = offset
		if more {
			d.frag |= 0x2000
		}
		return d.bytes(g)
	}
	f := packet(d.proto, port(d.src, d.sport), port(d.dst, d.dport)).ttl(d.hops).carrying(d.flags)
	if g.oneIn(4) {
		f = f.ext(destinations, 0)
	}
	f = f.frag6(offset<<3, more)
	if g.oneIn(4) {
		f = f.ext(destinations, 1)
	}
	return f.bytes()
}

// part makes a packet seen before, or an answer, one of several. Identifications
// are few, so that parts of the same packet meet, and such that differ.
func (g *traffic) part() []byte {
	b := g.again()
	if g.oneIn(2) {
		b = g.answer()
	}
	b = bare(b)
	if _, _, _, ok := fieldsOf(b); !ok {
		return b
	}
	field := uint16(pick(g.chooser, []int{0, 0, 0, 1, 2, 3, 100}))
	id, more := byte(g.n(2)), g.oneIn(2) || field == 0
	if binary.BigEndian.Uint16(b[12:]) == etherIP4 {
		if more {
			field |= 0x2000
		}
		b[18], b[19], b[20], b[21], b[24], b[25] = 0, id, byte(field>>8), byte(field), 0, 0
		binary.BigEndian.PutUint16(b[24:], ^sum(0, b[14:34]))
		return b
	}
	field <<= 3
	if more {
		field |= 1
	}
	header := []byte{b[20], 0, byte(field >> 8), byte(field), 0, 0, 0, id}
	b[20] = fragmentation
	binary.BigEndian.PutUint16(b[18:], binary.BigEndian.Uint16(b[18:])+8)
	return slices.Concat(b[:54], header, b[54:])
}

// wrapped is a packet in a tunnel, to a VIP, us or anybody.
func (g *traffic) wrapped() []byte {
	inner := g.request().bytes(g)
	if len(g.sent) > 0 && g.oneIn(2) {
		inner = pick(g.chooser, g.sent)
	}
	d := g.request()
	d.body = inner[14:]
	if g.oneIn(2) {
		d.proto, d.dport = udp, tunnel.GUEPort
		f := packet(udp, port(d.src, d.sport), port(d.dst, d.dport)).with(d.body)
		return f.bytes()
	}
	d.proto = pick(g.chooser, []uint8{4, 41})
	return d.bytes(g)
}

// tagged puts VLAN tags before a packet.
func (g *traffic) tagged() []byte {
	b := g.request().bytes(g)
	if len(g.sent) > 0 && g.oneIn(2) {
		b = pick(g.chooser, g.sent)
	}
	return g.tag(b, 1+g.n(3))
}

// tag puts VLAN tags before a packet, with any priority.
func (g *traffic) tag(b []byte, n int) []byte {
	out := slices.Clone(b[:12])
	for range n {
		out = binary.BigEndian.AppendUint16(out, uint16(pick(g.chooser, []int{0x8100, 0x8100, 0x88a8, 0x9100})))
		out = binary.BigEndian.AppendUint16(out, uint16(g.n(1<<16)))
	}
	return append(out, b[12:]...)
}

// bare is a packet without VLAN tags.
func bare(b []byte) []byte {
	for len(b) >= 18 && slices.Contains([]uint16{0x8100, 0x88a8}, binary.BigEndian.Uint16(b[12:])) {
		b = slices.Concat(b[:12], b[16:])
	}
	return b
}

// fromBackend is a backend's own traffic, or a reply to somebody.
func (g *traffic) fromBackend() []byte {
	d := g.request()
	if b := g.backend(d.dst.Is4()); b.IsValid() {
		d.dst, d.dport = g.client(d.dst.Is4()), d.sport
		d.src, d.sport = b.Addr(), b.Port()
		if b.Port() == 0 || g.oneIn(8) {
			d.sport = uint16(pick(g.chooser, []int{80, 53, 8080}))
		}
		if g.oneIn(4) {
			f := slices.Concat(sources.Source4, sources.Source6)
			if a := pick(g.chooser, f); a.Is4() == d.src.Is4() {
				d.dst, d.dport = a, uint16(g.n(1<<16))
			}
		}
	}
	return d.bytes(g)
}

// spliced is the head of one packet and the tail of another.
func (g *traffic) spliced() []byte {
	if len(g.sent) < 2 {
		return g.foreign()
	}
	a, b := pick(g.chooser, g.sent), pick(g.chooser, g.sent)
	return slices.Concat(a[:g.n(len(a)+1)], b[g.n(len(b)+1):])
}

// foreign is for nobody here.
func (g *traffic) foreign() []byte {
	d := g.request()
	switch g.n(5) {
	case 0:
		d.dst = g.family(d.dst.Is4()).stranger.Addr()
	case 1:
		d.dport = uint16(g.n(1 << 16))
	case 2:
		d.proto = pick(g.chooser, []uint8{0, 2, 47, 50, 51, 89, 132, 255})
		d.body = make([]byte, d.payload)
	case 3:
		return slices.Concat(balancerMAC[:], gatewayMAC[:], []byte{8, 6}, make([]byte, g.n(60)))
	case 4:
		d.proto = uint8(lb.TCP + lb.UDP - lb.Proto(d.proto))
	}
	return d.bytes(g)
}
