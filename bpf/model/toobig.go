package model

import (
	"encoding/binary"
	"slices"
)

const answerHops = 64

// tooBig answers a packet that does not fit its tunnel (RFC 1191; RFC 4443,
// 3.2), unless it is ICMP itself, may be fragmented on the way, has IPv4
// options, or enough have been answered.
func (m *Model) tooBig(p *packet, mtu int) Verdict {
	silent := p.isICMP() || p.version == 4 && (p.b[p.l3]&15 != 5 || be16(p.b[p.l3+6:])&dontFragment == 0)
	m.result.Limited = !silent
	if silent || !m.answer {
		return m.refuse(DropTooBig)
	}
	m.count(DropTooBig)
	m.count(SentTooBig)
	m.setFrame(slices.Concat(p.b[6:12], p.b[:6], p.b[12:14], p.tooBigAnswer(mtu)))
	return TX
}

// tooBigAnswer comes from the VIP and quotes the IP header and what errors need
// of the next.
func (p *packet) tooBigAnswer(mtu int) []byte {
	header := ip6Size
	if p.version == 4 {
		header = ip4Size
	}
	message := make([]byte, icmpSize, icmpSize+header+quotedSize)
	binary.BigEndian.PutUint32(message[4:], uint32(mtu))
	message = append(message, p.b[p.l3:p.l3+header+quotedSize]...)
	ip := make([]byte, header)
	if p.version == 4 {
		message[0], message[1] = unreachable4, fragNeeded
		checksum(message[2:4], 0, message)
		ip[0], ip[8], ip[9] = 0x45, answerHops, icmp4
		binary.BigEndian.PutUint16(ip[2:], uint16(ip4Size+len(message)))
		copy(ip[12:], p.dst[12:])
		copy(ip[16:], p.src[12:])
		checksum(ip[10:12], 0, ip)
		return append(ip, message...)
	}
	message[0] = tooBig6
	ip[0], ip[6], ip[7] = 0x60, icmp6, answerHops
	binary.BigEndian.PutUint16(ip[4:], uint16(len(message)))
	copy(ip[8:], p.dst[:])
	copy(ip[24:], p.src[:])
	pseudo := words(ip[8:]) + uint64(len(message)) + icmp6 // RFC 8200, 8.1
	checksum(message[2:4], pseudo, message)
	return append(ip, message...)
}
