package model

import (
	"encoding/binary"
	"slices"
)

const (
	outerHops    = 64
	dontFragment = 0x4000
	ipip         = 4  // RFC 2003
	ipv6         = 41 // RFC 2473
)

// overhead is what a backend's tunnel adds to a packet.
func (b *Backend) overhead() int {
	n := ip6Size
	if b.isIPv4() {
		n = ip4Size
	}
	if b.service.Forward == GUE {
		n += udpSize
	}
	return n
}

// encapsulate puts outer headers before a packet: IP in IP, or GUE variant 1,
// which is IP straight in UDP (draft-ietf-intarea-gue, 4). DSCP and ECN are
// carried as they are (RFC 6040, 4.1). The outer source is a prefix and the
// flow's hash, so that a backend's receive queues spread.
func (m *Model) encapsulate(p *packet, b *Backend, hash uint32) {
	head := make([]byte, etherSize, etherSize+b.overhead())
	next, inside := uint8(ipv6), p.length
	if p.version == 4 {
		next = ipip
	}
	if b.service.Forward == GUE {
		next, inside = udp, p.length+udpSize
	}
	if b.isIPv4() {
		binary.BigEndian.PutUint16(head[12:], etherIP4)
		head = append(head, m.outer4(b, p.class(), next, inside, hash)...)
	} else {
		binary.BigEndian.PutUint16(head[12:], etherIP6)
		head = append(head, m.outer6(b, p.class(), next, inside, hash)...)
	}
	if b.service.Forward == GUE {
		// A source port of the dynamic range (RFC 6335), and no checksum, which
		// tunnels may leave out over IPv6 too (RFC 6935).
		head = binary.BigEndian.AppendUint16(head, 0xc000|uint16(hash&0x3fff))
		head = binary.BigEndian.AppendUint16(head, m.config.GUEPort)
		head = binary.BigEndian.AppendUint16(head, uint16(inside))
		head = append(head, 0, 0)
	}
	m.setFrame(slices.Concat(head, p.b[p.l3:]))
}

func (m *Model) setFrame(b []byte) {
	m.buffer = append(m.buffer[:0], b...)
	m.result.Frame = m.buffer
}

func (m *Model) outer4(b *Backend, class, next uint8, inside int, hash uint32) []byte {
	h := make([]byte, ip4Size)
	h[0], h[1], h[8], h[9] = 0x45, class, outerHops, next
	binary.BigEndian.PutUint16(h[2:], uint16(ip4Size+inside))
	binary.BigEndian.PutUint16(h[6:], dontFragment)
	copy(h[12:], m.config.TunnelSource4[:])
	binary.BigEndian.PutUint16(h[14:], uint16(hash))
	copy(h[16:], b.Addr[12:])
	checksum(h[10:12], 0, h)
	return h
}

func (m *Model) outer6(b *Backend, class, next uint8, inside int, hash uint32) []byte {
	h := make([]byte, ip6Size)
	binary.BigEndian.PutUint32(h, 6<<28|uint32(class)<<20|hash&0xfffff)
	binary.BigEndian.PutUint16(h[4:], uint16(inside))
	h[6], h[7] = next, outerHops
	copy(h[8:], m.config.TunnelSource6[:])
	binary.NativeEndian.PutUint32(h[20:], hash)
	copy(h[24:], b.Addr[:])
	return h
}
