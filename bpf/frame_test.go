package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"weir/loader/lb"
)

type mac [6]byte

// TCP flags.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	psh = 0x08
	ack = 0x10
)

const (
	tcp    = uint8(lb.TCP)
	udp    = uint8(lb.UDP)
	icmp   = 1
	icmp6  = 58
	noNext = 59

	etherIP4 = 0x0800
	etherIP6 = 0x86dd
)

// IPv6 extension headers (RFC 8200, 4).
const (
	hopByHop      = 0
	routing       = 43
	fragmentation = 44
	destinations  = 60
)

// frame describes one Ethernet frame. Its methods return changed copies, so
// that a case reads as "this packet, but". bytes computes every length and
// checksum from scratch.
type frame struct {
	dst, src   mac
	tags       []uint16 // TPIDs of VLAN tags, outermost first
	from, to   netip.AddrPort
	proto      uint8
	hops       uint8
	tos        uint8
	ident      uint16 // IPv4
	label      uint32 // IPv6
	fragment   uint16 // IPv4: flags and offset as on the wire
	options    []byte // IPv4, whole words
	extensions []extension
	flags      uint8
	tcpOptions []byte // whole words
	payload    []byte
	raw        []byte // instead of header and payload, if not nil
	padding    []byte // Ethernet's, after the packet
	unsummed   bool   // UDP without checksum
	spoilt     uint16 // added to the checksum of TCP or UDP: how wrong it is
	lies       []lie
}

// extension is one IPv6 extension header without its "next header" and length
// bytes: 6, 14, 22... bytes.
type extension struct {
	kind uint8
	body []byte
}

// lie overwrites bytes once lengths and checksums are in place.
type lie struct {
	layer layer
	at    int
	bytes []byte
}

type layer int

const (
	atL2 layer = iota
	atL3
	atL4
)

var (
	gatewayMAC  = mac{2, 0xcc, 0, 0, 0, 1} // towards clients, on in0
	farMAC      = mac{2, 0xcc, 0, 0, 0, 2} // towards clients, on out0
	balancerMAC = mac{2, 0xaa, 0, 0, 0, 1} // in0
	outMAC      = mac{2, 0xaa, 0, 0, 0, 2} // out0
)

// packet is the plainest frame of a protocol from a client.
func packet(proto uint8, from, to netip.AddrPort) frame {
	f := frame{
		dst: balancerMAC, src: gatewayMAC, from: from, to: to, proto: proto,
		ident: 0x1234, label: 0x54321, hops: 64, flags: ack, payload: []byte("a payload of odd length"),
	}
	switch proto {
	case icmp:
		return f.message(8, 0, 0x1234_0001, f.payload)
	case icmp6:
		return f.message(128, 0, 0x1234_0001, f.payload)
	}
	return f
}

func (f frame) carrying(flags uint8) frame {
	f.flags = flags
	if flags&syn != 0 {
		f.payload = nil
	}
	return f
}

func (f frame) ttl(n uint8) frame                { f.hops = n; return f }
func (f frame) mac(dst, src mac) frame           { f.dst, f.src = dst, src; return f }
func (f frame) with(payload []byte) frame        { f.payload = payload; return f }
func (f frame) padded(b ...byte) frame           { f.padding = b; return f }
func (f frame) tagged(tpids ...uint16) frame     { f.tags = tpids; return f }
func (f frame) unchecked() frame                 { f.unsummed = true; return f }
func (f frame) wrong(by uint16) frame            { f.spoilt = by; return f }
func (f frame) source(a netip.AddrPort) frame    { f.from = a; return f }
func (f frame) dest(a netip.AddrPort) frame      { f.to = a; return f }
func (f frame) class(tos uint8) frame            { f.tos = tos; return f }
func (f frame) frag(flagsAndOffset uint16) frame { f.fragment = flagsAndOffset; return f }
func (f frame) ip4Options(b ...byte) frame       { f.options = b; return f }
func (f frame) options4(b ...byte) frame         { f.tcpOptions = b; return f }

func (f frame) lying(l layer, at int, b ...byte) frame {
	f.lies = append(slices.Clone(f.lies), lie{l, at, b})
	return f
}

func (f frame) ext(kind uint8, words int) frame {
	body := make([]byte, 8*words+6)
	body[0] = 1 // PadN
	if kind == routing {
		body[0], body[1] = 253, 0 // an experimental type with no segments left
	} else {
		body[1] = byte(len(body) - 2)
	}
	f.extensions = append(slices.Clone(f.extensions), extension{kind, body})
	return f
}

// message makes the frame ICMP of a type and code.
func (f frame) message(kind, code uint8, rest uint32, data []byte) frame {
	f.payload = append(binary.BigEndian.AppendUint32([]byte{kind, code, 0, 0}, rest), data...)
	return f
}

// frag6 adds a fragment header; offset is in bytes.
func (f frame) frag6(offset uint16, more bool) frame {
	body := binary.BigEndian.AppendUint16(nil, offset)
	if more {
		body[1] |= 1
	}
	f.extensions = append(slices.Clone(f.extensions), extension{fragmentation, append(body, 0xde, 0xad, 0xbe, 0xef)})
	return f
}

// key is the frame's 5-tuple.
func (f frame) key() lb.FlowKey { return lb.FlowKey{Src: f.from, Dst: f.to, Proto: lb.Proto(f.proto)} }

func (f frame) bytes() []byte {
	l4 := f.transport()
	var l3 []byte
	if f.from.Addr().Is4() {
		l3 = f.ip4(len(l4))
	} else {
		l3 = f.ip6(len(l4))
	}
	for _, l := range f.lies {
		switch l.layer {
		case atL3:
			copy(l3[l.at:], l.bytes)
		case atL4:
			copy(l4[l.at:], l.bytes)
		}
	}
	b := slices.Concat(f.ethernet(), l3, l4, f.padding)
	for _, l := range f.lies {
		if l.layer == atL2 {
			copy(b[l.at:], l.bytes)
		}
	}
	return b
}

func (f frame) ethernet() []byte {
	b := slices.Concat(f.dst[:], f.src[:])
	for i, tpid := range f.tags {
		b = binary.BigEndian.AppendUint16(b, tpid)
		b = binary.BigEndian.AppendUint16(b, uint16(100+i))
	}
	if f.from.Addr().Is4() {
		return binary.BigEndian.AppendUint16(b, etherIP4)
	}
	return binary.BigEndian.AppendUint16(b, etherIP6)
}

func (f frame) ip4(payload int) []byte {
	b := make([]byte, 20, 20+len(f.options))
	b[0] = 0x40 | byte((20+len(f.options))/4)
	b[1] = f.tos
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(f.options)+payload))
	binary.BigEndian.PutUint16(b[4:], f.ident)
	binary.BigEndian.PutUint16(b[6:], f.fragment)
	b[8], b[9] = f.hops, f.proto
	copy(b[12:], f.from.Addr().AsSlice())
	copy(b[16:], f.to.Addr().AsSlice())
	b = append(b, f.options...)
	binary.BigEndian.PutUint16(b[10:], ^sum(0, b))
	return b
}

func (f frame) ip6(payload int) []byte {
	next := f.proto
	var chain []byte
	for _, e := range slices.Backward(f.extensions) {
		length := byte(len(e.body)+2)/8 - 1
		if e.kind == fragmentation {
			length = 0 // reserved
		}
		chain = slices.Concat([]byte{next, length}, e.body, chain)
		next = e.kind
	}
	b := make([]byte, 40, 40+len(chain))
	binary.BigEndian.PutUint32(b, 6<<28|uint32(f.tos)<<20|f.label)
	binary.BigEndian.PutUint16(b[4:], uint16(len(chain)+payload))
	b[6], b[7] = next, f.hops
	copy(b[8:], f.from.Addr().AsSlice())
	copy(b[24:], f.to.Addr().AsSlice())
	return append(b, chain...)
}

func (f frame) transport() []byte {
	if f.raw != nil {
		return slices.Clone(f.raw)
	}
	switch f.proto {
	case tcp:
		return f.tcp()
	case udp:
		return f.udp()
	case icmp, icmp6:
		return f.icmp()
	}
	return slices.Clone(f.payload)
}

// icmp sums a message, in IPv6 with its pseudo header (RFC 4443, 2.3).
func (f frame) icmp() []byte {
	b := slices.Clone(f.payload)
	if len(b) < 4 {
		return b
	}
	pseudo := uint16(0)
	if f.proto == icmp6 {
		pseudo = f.pseudo(len(b))
	}
	b[2], b[3] = 0, 0
	binary.BigEndian.PutUint16(b[2:], ^f.add(pseudo, b))
	return b
}

func (f frame) tcp() []byte {
	b := make([]byte, 20, 20+len(f.tcpOptions)+len(f.payload))
	binary.BigEndian.PutUint16(b, f.from.Port())
	binary.BigEndian.PutUint16(b[2:], f.to.Port())
	binary.BigEndian.PutUint32(b[4:], 0x01020304)
	binary.BigEndian.PutUint32(b[8:], 0x0a0b0c0d)
	b[12], b[13] = byte((20+len(f.tcpOptions))/4)<<4, f.flags
	binary.BigEndian.PutUint16(b[14:], 65000)
	b = slices.Concat(b, f.tcpOptions, f.payload)
	binary.BigEndian.PutUint16(b[16:], ^f.add(f.pseudo(len(b)), b))
	return b
}

func (f frame) udp() []byte {
	b := make([]byte, 8, 8+len(f.payload))
	binary.BigEndian.PutUint16(b, f.from.Port())
	binary.BigEndian.PutUint16(b[2:], f.to.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(f.payload)))
	b = append(b, f.payload...)
	check := ^f.add(f.pseudo(len(b)), b)
	if check == 0 {
		check = 0xffff // RFC 768
	}
	if !f.unsummed {
		binary.BigEndian.PutUint16(b[6:], check)
	}
	return b
}

// add is the sum with the error that the frame shall have.
func (f frame) add(pseudo uint16, b []byte) uint16 {
	return sum(pseudo, binary.BigEndian.AppendUint16(slices.Concat(b, make([]byte, len(b)%2)), f.spoilt))
}

// pseudo is the sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1).
func (f frame) pseudo(length int) uint16 {
	b := slices.Concat(f.from.Addr().AsSlice(), f.to.Addr().AsSlice())
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	return sum(0, binary.BigEndian.AppendUint32(b, uint32(f.proto)))
}

// sum is the ones' complement sum of RFC 1071.
func sum(start uint16, b []byte) uint16 {
	n := uint32(start)
	for i := 0; i+1 < len(b); i += 2 {
		n += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		n += uint32(b[len(b)-1]) << 8
	}
	for n>>16 != 0 {
		n = n&0xffff + n>>16
	}
	return uint16(n)
}
