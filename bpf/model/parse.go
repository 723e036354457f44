package model

import (
	"encoding/binary"
	"slices"
)

const (
	etherSize = 14
	ip4Size   = 20 // without options
	ip6Size   = 40
	tcpSize   = 20
	udpSize   = 8
	icmpSize  = 8

	tcp   = 6
	udp   = 17
	icmp4 = 1
	icmp6 = 58

	etherIP4   = 0x0800
	etherIP6   = 0x86dd
	ether8021Q = 0x8100
	ether8021A = 0x88a8
)

// TCP flags.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	ack = 0x10
)

// IPv6 extension headers (RFC 8200, 4).
const (
	hopByHop      = 0
	routing       = 43
	fragmentation = 44
	destinations  = 60

	mostExtensions = 4
)

// packet is a frame whose headers are there.
type packet struct {
	b            []byte // the frame
	l3, l4       int    // where they begin in b
	length       int    // of the IP packet, as its header says
	version      uint8
	proto        uint8 // 0: not known
	hops         uint8
	src, dst     Addr
	sport, dport uint16
	flags        uint8 // TCP's
}

// kind is what a frame turned out to be.
type kind int

const (
	whole kind = iota
	notIP
	tagged
	tooShort      // for an IP header
	otherProtocol // than TCP, UDP and ICMP
	malformed
	fragment
	extensions // more than anybody needs
)

func balanced(proto uint8) bool { return proto == tcp || proto == udp }

func parse(b []byte) (p packet, what kind) {
	p = packet{b: b, l3: etherSize}
	if len(b) < etherSize {
		return p, notIP
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case etherIP4:
		return p, p.parseIP4()
	case etherIP6:
		return p, p.parseIP6()
	case ether8021Q, ether8021A:
		return p, tagged
	}
	return p, notIP
}

// parseIP4: RFC 791, 3.1.
func (p *packet) parseIP4() kind {
	ip := p.b[p.l3:]
	if len(ip) < ip4Size {
		return tooShort
	}
	header := int(ip[0]&15) * 4
	p.version, p.length, p.hops, p.proto = 4, be16(ip[2:]), ip[8], ip[9]
	p.src, p.dst = mapped(ip[12:16]), mapped(ip[16:20])
	if ip[0]>>4 != 4 || header < ip4Size || p.length < header || p.length > len(ip) {
		return malformed
	}
	if !balanced(p.proto) && p.proto != icmp4 {
		return otherProtocol
	}
	if be16(ip[6:])&0x3fff != 0 { // more fragments, or an offset
		if balanced(p.proto) {
			return fragment
		}
		return otherProtocol
	}
	p.l4 = p.l3 + header
	return p.parseTransport()
}

// parseIP6: RFC 8200, 3 and 4. The protocol is known once the extension headers
// before it have been read.
func (p *packet) parseIP6() kind {
	ip := p.b[p.l3:]
	if len(ip) < ip6Size {
		return tooShort
	}
	p.version, p.length, p.hops = 6, ip6Size+be16(ip[4:]), ip[7]
	p.src, p.dst = Addr(ip[8:24]), Addr(ip[24:40])
	if ip[0]>>4 != 6 || p.length > len(ip) {
		return malformed
	}
	next, at := ip[6], ip6Size
	for range mostExtensions + 1 {
		switch {
		case balanced(next) || next == icmp6:
			p.proto, p.l4 = next, p.l3+at
			if at > p.length {
				return malformed
			}
			return p.parseTransport()
		case next == fragmentation && at+fragmentSize > p.length:
			return malformed
		case next == fragmentation && isPart(ip[at:]):
			return fragment
		case next != fragmentation && !isExtension(next):
			return otherProtocol
		case at+2 > p.length:
			return malformed
		}
		next, at = ip[at], at+extensionSize(next, ip[at:])
	}
	return extensions
}

func isExtension(next uint8) bool {
	return slices.Contains([]uint8{hopByHop, routing, destinations}, next)
}

// isPart: a fragment header may be that of a whole packet (RFC 6946).
func isPart(header []byte) bool { return be16(header[2:])&0xfff9 != 0 }

func extensionSize(kind uint8, header []byte) int {
	if kind == fragmentation {
		return fragmentSize
	}
	return 8 * (int(header[1]) + 1)
}

// parseTransport: the header has to be inside the packet and to state a length
// that is.
func (p *packet) parseTransport() kind {
	b := p.b[p.l4 : p.l3+p.length]
	switch p.proto {
	case tcp:
		if len(b) < tcpSize || b[12]>>4 < 5 || int(b[12]>>4)*4 > len(b) {
			return malformed
		}
		p.flags = b[13]
	case udp:
		if len(b) < udpSize || be16(b[4:]) < udpSize || be16(b[4:]) > len(b) {
			return malformed
		}
	default:
		if len(b) < icmpSize {
			return malformed
		}
		return whole
	}
	p.sport, p.dport = uint16(be16(b)), uint16(be16(b[2:]))
	return whole
}

func (p *packet) isICMP() bool { return p.proto == icmp4 || p.proto == icmp6 }

func be16(b []byte) int { return int(binary.BigEndian.Uint16(b)) }

// addresses are the fields of the IP header.
func (p *packet) addresses() (src, dst []byte) {
	if p.version == 4 {
		return p.b[p.l3+12 : p.l3+16], p.b[p.l3+16 : p.l3+20]
	}
	return p.b[p.l3+8 : p.l3+24], p.b[p.l3+24 : p.l3+40]
}

// bytes are an address as the packet's version writes it.
func (p *packet) bytes(a *Addr) []byte {
	if p.version == 4 {
		return a[12:]
	}
	return a[:]
}

// class is DSCP and ECN.
func (p *packet) class() uint8 {
	if p.version == 4 {
		return p.b[p.l3+1]
	}
	return p.b[p.l3]<<4 | p.b[p.l3+1]>>4
}
