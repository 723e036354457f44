package byvip

import (
	"encoding/binary"
	"net/netip"

	"weir/loader/lb"
)

const (
	etherIP4, etherIP6 = 0x0800, 0x86dd
	protoIPIP          = 4 // RFC 2003
	protoTCP           = 6
	protoUDP           = 17
	protoIPv6          = 41 // RFC 2473
	hops               = 64
	dontFragment       = 0x4000

	syn, rst, ack = 0x02, 0x04, 0x10
	mss           = 536 // bytes; the least that every host takes (RFC 9293, 3.7.1)
	window        = 1024
)

// segment is a TCP segment without data.
type segment struct {
	from, to netip.AddrPort
	seq      uint32
	flags    byte
}

// way is how frames reach a backend.
type way struct {
	hop     lb.NextHop
	backend netip.Addr
	forward lb.Forward
	tunnel  lb.Tunnel
}

// frame is a segment as it goes to the backend: as clients' are, to the VIP.
func (w way) frame(s segment) []byte {
	packet := ip(s.from.Addr(), s.to.Addr(), protoTCP, s.tcp())
	outside := s.to.Addr()
	if w.forward.Tunnel() {
		packet, outside = w.wrap(packet, s), w.backend
	}
	kind := uint16(etherIP6)
	if outside.Is4() {
		kind = etherIP4
	}
	frame := append(w.hop.DstMAC[:], w.hop.SrcMAC[:]...)
	frame = binary.BigEndian.AppendUint16(frame, kind)
	return append(frame, packet...)
}

// wrap puts a packet into another as the data plane does: IP in IP, or GUE
// variant 1, which is IP straight in UDP (draft-ietf-intarea-gue, 4).
func (w way) wrap(packet []byte, s segment) []byte {
	proto := byte(protoIPv6)
	if s.to.Addr().Is4() {
		proto = protoIPIP
	}
	if w.forward == lb.GUE {
		udp := binary.BigEndian.AppendUint16(nil, 0xc000|s.from.Port())
		udp = binary.BigEndian.AppendUint16(udp, w.tunnel.GUEPort)
		udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(packet)))
		packet, proto = append(append(udp, 0, 0), packet...), protoUDP // no checksum (RFC 6935)
	}
	return ip(w.outer(s.from.Port()), w.backend, proto, packet)
}

// outer is a source in the prefix of tunnels.
func (w way) outer(low uint16) netip.Addr {
	if w.backend.Is4() {
		a := w.tunnel.Source4.Addr().As4()
		binary.BigEndian.PutUint16(a[2:], low)
		return netip.AddrFrom4(a)
	}
	a := w.tunnel.Source6.Addr().As16()
	binary.BigEndian.PutUint16(a[14:], low)
	return netip.AddrFrom16(a)
}

// ip puts an IP header before a payload.
func ip(from, to netip.Addr, proto byte, payload []byte) []byte {
	if to.Is6() {
		h := make([]byte, 40, 40+len(payload))
		h[0] = 6 << 4
		binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
		h[6], h[7] = proto, hops
		copy(h[8:], from.AsSlice())
		copy(h[24:], to.AsSlice())
		return append(h, payload...)
	}
	h := make([]byte, 20, 20+len(payload))
	h[0], h[8], h[9] = 0x45, hops, proto
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	binary.BigEndian.PutUint16(h[6:], dontFragment)
	copy(h[12:], from.AsSlice())
	copy(h[16:], to.AsSlice())
	binary.BigEndian.PutUint16(h[10:], checksum(0, h))
	return append(h, payload...)
}

// tcp is the segment with its checksum (RFC 9293, 3.1).
func (s segment) tcp() []byte {
	h := make([]byte, 20, 24)
	binary.BigEndian.PutUint16(h[0:], s.from.Port())
	binary.BigEndian.PutUint16(h[2:], s.to.Port())
	binary.BigEndian.PutUint32(h[4:], s.seq)
	h[13] = s.flags
	if s.flags&syn != 0 {
		binary.BigEndian.PutUint16(h[14:], window)
		h = append(h, 2, 4, mss>>8, mss&0xff)
	}
	h[12] = byte(len(h) / 4 << 4)
	pseudo := append(s.from.Addr().AsSlice(), s.to.Addr().AsSlice()...)
	pseudo = append(pseudo, 0, protoTCP, 0, byte(len(h)))
	binary.BigEndian.PutUint16(h[16:], checksum(sum(0, pseudo), h))
	return h
}

// sum adds up 16-bit words (RFC 1071); the length is even.
func sum(n uint32, b []byte) uint32 {
	for i := 0; i+1 < len(b); i += 2 {
		n += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return n
}

func checksum(n uint32, b []byte) uint16 {
	n = sum(n, b)
	for n>>16 != 0 {
		n = n&0xffff + n>>16
	}
	return ^uint16(n)
}

// answer is what matters of a segment that came.
type answer struct {
	from, to netip.AddrPort
	ack      uint32
	flags    byte
}

// parse reads an IP packet. It is false for what is no answer to a SYN: a
// SYN-ACK, or a RST that acknowledges.
func parse(b []byte) (answer, bool) {
	if len(b) < 20 {
		return answer{}, false
	}
	var from, to netip.Addr
	var tcp []byte
	switch b[0] >> 4 {
	case 4:
		head := int(b[0]&0xf) * 4
		if head < 20 || len(b) < head || b[9] != protoTCP || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return answer{}, false
		}
		from, to, tcp = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[head:]
	case 6:
		if len(b) < 40 || b[6] != protoTCP {
			return answer{}, false
		}
		from, to, tcp = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[40:]
	}
	if len(tcp) < 20 || tcp[13]&ack == 0 || tcp[13]&(syn|rst) == 0 {
		return answer{}, false
	}
	return answer{
		from: netip.AddrPortFrom(from, binary.BigEndian.Uint16(tcp)), to: netip.AddrPortFrom(to, binary.BigEndian.Uint16(tcp[2:])),
		ack: binary.BigEndian.Uint32(tcp[8:]), flags: tcp[13],
	}, true
}
