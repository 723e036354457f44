package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"weir/bpf/model"
)

// traffic makes the events of one sequence. What it sent and what came of it
// before is quoted, answered, wrapped and spliced.
type traffic struct {
	chooser
	w    *world
	sent [][]byte // as they came in
	came [][]byte // as they left
}

const remembered = 24

func newTraffic(w *world, c chooser) *traffic { return &traffic{chooser: c, w: w} }

func remember(list [][]byte, b []byte) [][]byte {
	if len(list) == remembered {
		list = slices.Delete(list, 0, 1)
	}
	return append(list, b)
}

func pick[T any](c chooser, of []T) T { return of[c.n(len(of))] }

// oneIn is true once in n times.
func (g *traffic) oneIn(n int) bool { return g.n(n) == n-1 }

// next is the next event; learn tells what became of its frame.
func (g *traffic) next() event {
	switch {
	case g.oneIn(64):
		return event{age: uint16(pick(g.chooser, []int{1, 1, 2, 3, 6, 21, 95, 2040}))}
	case g.oneIn(128):
		return event{fill: uint64(1 + g.n(1<<16))}
	}
	b := g.frame()
	if g.oneIn(4) {
		b = g.mutate(b)
	}
	if len(b) < 14 {
		b = append(b, make([]byte, 14-len(b))...)
	}
	if len(b) > 3000 {
		b = b[:3000]
	}
	g.sent = remember(g.sent, b)
	if g.w.kind.vlans && g.oneIn(3) {
		b = g.tag(b, 1+g.n(2))
	}
	return event{iface: pick(g.chooser, []string{"in0", "in0", "in0", "in0", "out0", "off0"}), frame: b}
}

// learn remembers what left, and how to make a checksum 0 on its way.
func (g *traffic) learn(in []byte, r *model.Result) {
	if r.Verdict != model.TX && r.Verdict != model.Redirect {
		return
	}
	in, out := bare(in), bare(slices.Clone(r.Frame))
	g.came = remember(g.came, out)
	if len(out) == len(in) && g.oneIn(8) {
		g.sent = remember(g.sent, zeroing(in, out))
	}
}

// zeroing is a packet with such a checksum of TCP or UDP that what was changed
// on its way makes a sum of 0.
func zeroing(in, out []byte) []byte {
	in = slices.Clone(in)
	_, _, before, ok := fieldsOf(in)
	_, _, after, _ := fieldsOf(out)
	at := 6
	if ok && (in[14]>>4 == 4 && in[23] == tcp || in[14]>>4 == 6 && in[20] == tcp) {
		at = 16
	}
	if len(before) < at+2 || len(after) < at+2 {
		return in
	}
	was, is := binary.BigEndian.Uint16(before[at:]), binary.BigEndian.Uint16(after[at:])
	binary.BigEndian.PutUint16(before[at:], uint16((uint32(was)+0xffff-uint32(is)-1)%0xffff+1))
	return in
}

func (g *traffic) frame() []byte {
	switch g.n(23) {
	case 0, 1, 2, 3, 4, 5:
		return g.request().bytes(g)
	case 6, 7, 8:
		return g.again()
	case 9, 10, 11:
		return g.answer()
	case 12:
		return g.icmpError()
	case 13:
		return g.icmpOther()
	case 14:
		return g.fragment()
	case 15:
		return g.wrapped()
	case 16:
		return g.tagged()
	case 17:
		return g.fromBackend()
	case 18:
		return g.spliced()
	case 19, 20, 21:
		return g.part()
	}
	return g.foreign()
}

// draft is a packet to be made.
type draft struct {
	src, dst     netip.Addr
	sport, dport uint16
	proto        uint8
	flags        uint8
	hops, tos    uint8
	frag         uint16
	options      int // words
	extensions   int
	payload      int
	unsummed     bool
	body         []byte // instead of TCP and UDP
	padding      int
}

// request is to a VIP, from few enough clients that many are met again.
func (g *traffic) request() draft {
	v := pick(g.chooser, g.w.vips)
	d := g.draft(uint8(v.Proto))
	d.src, d.dst = g.client(v.Addr.Is4()), v.Addr
	d.sport, d.dport = uint16(40000+g.n(3)), v.Port
	if v.Port == 0 {
		d.dport = uint16(pick(g.chooser, []int{80, 81, 8080, 53}))
	}
	if g.oneIn(32) {
		d.sport = uint16(g.n(1 << 16))
	}
	if g.oneIn(32) { // from a backend itself
		if b := g.backend(v.Addr.Is4()); b.IsValid() {
			d.src, d.sport = b.Addr(), b.Port()
		}
	}
	return d
}

// draft has what does not depend on addresses.
func (g *traffic) draft(proto uint8) draft {
	d := draft{proto: proto, hops: 64, payload: g.n(40)}
	d.flags = pick(g.chooser, []uint8{syn, syn, syn, ack, ack, ack | psh, fin | ack, rst, syn | ack, syn | 0xc0, 0, 0xff})
	if g.oneIn(8) {
		d.hops = uint8(pick(g.chooser, []int{0, 1, 2, 255}))
	}
	if g.oneIn(6) {
		d.payload = pick(g.chooser, []int{60, 100, 500, 540, 600, 1400, 1432, 1440, 1460, 1480, 1500})
	}
	if g.oneIn(8) {
		d.tos = uint8(g.n(256))
	}
	d.frag = uint16(pick(g.chooser, []int{0, 0, 0, 0x4000, 0x4000, 0x4000, 0x4000, 0x8000})) // DF; the reserved bit
	if g.oneIn(8) {
		d.options, d.extensions = g.n(11), g.n(7)
	}
	d.unsummed = g.oneIn(12)
	if g.oneIn(8) {
		d.padding = g.n(30)
	}
	return d
}

func (g *traffic) family(v4 bool) family {
	if v4 {
		return ip4
	}
	return ip6
}

func (g *traffic) client(v4 bool) netip.Addr {
	f := g.family(v4)
	a := pick(g.chooser, []netip.AddrPort{f.client, f.client, f.client, f.far, f.far, f.lost, f.narrow, f.narrow, f.blocked, f.nowhere, f.own}).Addr()
	if a == f.own.Addr() {
		return a
	}
	b := a.AsSlice()
	b[len(b)-1] = byte(1 + g.n(3))
	a, _ = netip.AddrFromSlice(b)
	return a
}

// backend is one that may reply, invalid if there is none of the family.
func (g *traffic) backend(v4 bool) netip.AddrPort {
	if len(g.w.reals) == 0 {
		return netip.AddrPort{}
	}
	b := pick(g.chooser, g.w.reals)
	a := netip.AddrFrom16(b.Addr).Unmap()
	if a.Is4() != v4 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a, b.Port)
}

// tcpOptions are those of a SYN in any order, some of them wrong.
func tcpOptions(c chooser) (b []byte) {
	for range c.n(6) {
		b = append(b, pick(c, [][]byte{
			{1}, {1, 1}, {2, 4, 5, 0xb4}, {2, 4, 2, 0}, {2, 4, 0xff, 0xff}, {2, 4, 0, 0}, {3, 3, 7}, {4, 2},
			{8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, {0}, {2, 3, 9}, {5, 0}, {6, 1}, {30, 12, 2, 4, 5, 0xb4, 0, 0, 0, 0, 0, 0}, {254, 40},
		})...)
	}
	b = append(b, make([]byte, 3)...)
	return b[:min(len(b)/4*4, 40)]
}

// bytes makes the packet with right lengths and checksums.
func (d draft) bytes(c chooser) []byte {
	f := frame{
		dst: balancerMAC, src: gatewayMAC, from: port(d.src, d.sport), to: port(d.dst, d.dport), proto: d.proto,
		hops: d.hops, tos: d.tos, ident: uint16(c.n(4)), label: 0x12345, fragment: d.frag, flags: d.flags, unsummed: d.unsummed,
	}
	if d.options > 0 {
		f.options, f.tcpOptions = make([]byte, 4*d.options), make([]byte, 4*(d.options%11))
	}
	if d.proto == tcp && d.flags&syn != 0 && c.n(2) == 0 {
		f.tcpOptions = tcpOptions(c)
	}
	if d.src.Is6() {
		for i := range d.extensions {
			f = f.ext(pick(c, []uint8{hopByHop, routing, destinations}), i%3)
		}
	}
	f.payload = d.body
	if f.payload == nil {
		f.payload = make([]byte, d.payload)
		for i := range f.payload {
			f.payload[i] = byte(i * 37)
		}
	}
	f.padding = make([]byte, d.padding)
	return f.bytes()
}
