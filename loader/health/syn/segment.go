// Package syn is TCP's first packet and what answers it: segments as bytes,
// sockets that hear answers beside the kernel, and a Prober that finds out of
// many addresses at once whether a connection would be accepted.
package syn

import (
	"encoding/binary"
	"net/netip"
)

// IP protocols.
const (
	ProtoIPIP = 4 // RFC 2003
	ProtoTCP  = 6
	ProtoUDP  = 17
	ProtoIPv6 = 41 // RFC 2473
)

// Flags of segments.
const (
	SYN = 0x02
	RST = 0x04
	ACK = 0x10
)

const (
	hops         = 64
	dontFragment = 0x4000
	mss          = 536 // bytes; the least that every host takes (RFC 9293, 3.7.1)
	window       = 1024
	maxPacket    = 40 + 24 // bytes of a SYN over IPv6
)

// Segment is a TCP segment without data.
type Segment struct {
	From, To netip.AddrPort
	Seq      uint32
	Flags    byte
}

// AppendIP appends an IP header for a payload of so many bytes.
func AppendIP(b []byte, from, to netip.Addr, proto byte, payload int) []byte {
	at := len(b)
	if to.Is6() {
		f, t := from.As16(), to.As16()
		b = append(b, 6<<4, 0, 0, 0, byte(payload>>8), byte(payload), proto, hops)
		return append(append(b, f[:]...), t[:]...)
	}
	f, t := from.As4(), to.As4()
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(20+payload))
	b = append(b, 0, 0, dontFragment>>8, dontFragment&0xff, hops, proto, 0, 0)
	b = append(append(b, f[:]...), t[:]...)
	binary.BigEndian.PutUint16(b[at+10:], checksum(0, b[at:]))
	return b
}

// AppendPacket appends the segment in its IP packet.
func (s Segment) AppendPacket(b []byte) []byte {
	size := 20
	if s.Flags&SYN != 0 {
		size = 24
	}
	return s.appendTCP(AppendIP(b, s.From.Addr(), s.To.Addr(), ProtoTCP, size))
}

// appendTCP appends the segment with its checksum (RFC 9293, 3.1).
func (s Segment) appendTCP(b []byte) []byte {
	at := len(b)
	b = binary.BigEndian.AppendUint16(b, s.From.Port())
	b = binary.BigEndian.AppendUint16(b, s.To.Port())
	b = binary.BigEndian.AppendUint32(b, s.Seq)
	b = append(b, 0, 0, 0, 0, 5<<4, s.Flags, 0, 0, 0, 0, 0, 0)
	if s.Flags&SYN != 0 {
		binary.BigEndian.PutUint16(b[at+14:], window)
		b[at+12] = 6 << 4
		b = append(b, 2, 4, mss>>8, mss&0xff)
	}
	binary.BigEndian.PutUint16(b[at+16:], checksum(s.pseudo(len(b)-at), b[at:]))
	return b
}

// pseudo is the sum of the pseudo header (RFC 9293, 3.1; RFC 8200, 8.1).
func (s Segment) pseudo(size int) uint32 {
	return addrSum(s.From.Addr()) + addrSum(s.To.Addr()) + ProtoTCP + uint32(size)
}

func addrSum(a netip.Addr) uint32 {
	if a.Is4() {
		b := a.As4()
		return sum(0, b[:])
	}
	b := a.As16()
	return sum(0, b[:])
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

// Answer is what matters of a segment that came.
type Answer struct {
	From, To netip.AddrPort
	Ack      uint32
	Flags    byte
}

// Parse reads an IP packet. It is false for what is no answer to a SYN: a
// SYN-ACK, or a RST that acknowledges.
func Parse(b []byte) (Answer, bool) {
	if len(b) < 20 {
		return Answer{}, false
	}
	var from, to netip.Addr
	var tcp []byte
	switch b[0] >> 4 {
	case 4:
		head := int(b[0]&0xf) * 4
		if head < 20 || len(b) < head || b[9] != ProtoTCP || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return Answer{}, false
		}
		from, to, tcp = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[head:]
	case 6:
		if len(b) < 40 || b[6] != ProtoTCP {
			return Answer{}, false
		}
		from, to, tcp = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[40:]
	}
	if len(tcp) < 20 || tcp[13]&ACK == 0 || tcp[13]&(SYN|RST) == 0 {
		return Answer{}, false
	}
	return Answer{
		From: netip.AddrPortFrom(from, binary.BigEndian.Uint16(tcp)), To: netip.AddrPortFrom(to, binary.BigEndian.Uint16(tcp[2:])),
		Ack: binary.BigEndian.Uint32(tcp[8:]), Flags: tcp[13],
	}, true
}
