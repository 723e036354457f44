package decap_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// IP protocol numbers (IANA).
const (
	protoIPIP = 4
	protoTCP  = 6
	protoUDP  = 17
	protoIPv6 = 41
)

// ECN codepoints (RFC 3168, 5).
const (
	notECT = 0
	ect1   = 1
	ect0   = 2
	ce     = 3
)

const (
	macs    = "\x02\xbb\x00\x00\x00\x01\x02\xaa\x00\x00\x00\x01"
	port    = 6080
	dscp    = 0xb8 // expedited forwarding, with an ECN field of 0
	udpSize = 8
)

// ip is one IP header. A length or checksum that a case does not set is right.
type ip struct {
	src, dst netip.Addr
	proto    byte
	tos, ttl byte
	options  []byte // of IPv4, whole words
	fragment uint16 // flags and offset of IPv4
	lie      int    // added to the length field
	ihl      int    // IPv4: header words, if not what the header has
	version  byte   // if not that of dst
	badSum   bool
}

// over puts the header before a payload.
func (h ip) over(payload []byte) []byte {
	if h.dst.Is4() {
		return h.over4(payload)
	}
	return h.over6(payload)
}

func (h ip) over4(payload []byte) []byte {
	b := make([]byte, 20, 20+len(h.options)+len(payload))
	b = append(b, h.options...)
	words := len(b) / 4
	if h.ihl != 0 {
		words = h.ihl
	}
	b[0] = h.versionOr(4)<<4 | byte(words)
	b[1] = h.tos
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(payload)+h.lie))
	binary.BigEndian.PutUint16(b[6:], h.fragment)
	b[8], b[9] = h.ttl, h.proto
	copy(b[12:], h.src.AsSlice())
	copy(b[16:], h.dst.AsSlice())
	sum := checksum(b)
	if h.badSum {
		sum ^= 0x0101
	}
	binary.BigEndian.PutUint16(b[10:], sum)
	return append(b, payload...)
}

func (h ip) over6(payload []byte) []byte {
	b := make([]byte, 40, 40+len(payload))
	binary.BigEndian.PutUint32(b, uint32(h.versionOr(6))<<28|uint32(h.tos)<<20|0x12345)
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)+h.lie))
	b[6], b[7] = h.proto, h.ttl
	copy(b[8:], h.src.AsSlice())
	copy(b[24:], h.dst.AsSlice())
	return append(b, payload...)
}

func (h ip) versionOr(right byte) byte {
	if h.version != 0 {
		return h.version
	}
	return right
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// udp puts a header before a payload; lie is added to its length field.
func udp(dport uint16, lie int, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, 50000)
	b = binary.BigEndian.AppendUint16(b, dport)
	b = binary.BigEndian.AppendUint16(b, uint16(udpSize+len(payload)+lie))
	return append(append(b, 0, 0), payload...)
}

// ethernet puts a header before a packet.
func ethernet(etherType uint16, packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte(macs), etherType), packet...)
}

// frame is an IP packet in a frame, as its version says.
func frame(packet []byte) []byte {
	if packet[0]>>4 == 6 {
		return ethernet(0x86dd, packet)
	}
	return ethernet(0x0800, packet)
}

func padded(f []byte, n int) []byte { return append(slices.Clone(f), make([]byte, n)...) }

// The hosts of the tests: client, balancer's tunnel source, this host, a VIP.
var (
	client4  = netip.MustParseAddr("203.0.113.7")
	client6  = netip.MustParseAddr("2001:db8:113::7")
	source4  = netip.MustParseAddr("172.16.31.7")
	source6  = netip.MustParseAddr("fd00::31:7")
	local4   = netip.MustParseAddr("10.0.0.11")
	local6   = netip.MustParseAddr("2001:db8::11")
	vip4     = netip.MustParseAddr("198.51.100.10")
	vip6     = netip.MustParseAddr("2001:db8:100::10")
	foreign4 = netip.MustParseAddr("198.51.100.11")
	foreign6 = netip.MustParseAddr("2001:db8:100::11")
)

var segment = []byte("\x1f\x90\x00\x50 a TCP segment of the client, as good as any\n")

// inner is the client's packet to the VIP.
func inner(family int) ip {
	if family == 6 {
		return ip{src: client6, dst: vip6, proto: protoTCP, tos: dscp, ttl: 57}
	}
	return ip{src: client4, dst: vip4, proto: protoTCP, tos: dscp, ttl: 57}
}

// outer is the balancer's header to this host.
func outer(family int, proto byte) ip {
	if family == 6 {
		return ip{src: source6, dst: local6, proto: proto, tos: dscp, ttl: 64}
	}
	return ip{src: source4, dst: local4, proto: proto, tos: dscp, ttl: 64, fragment: 0x4000}
}

// ecn is the header with this ECN field.
func (h ip) ecn(codepoint byte) ip {
	h.tos = h.tos&^3 | codepoint
	return h
}

// kind is one way to put a packet into another.
type kind struct {
	outer, inner int // families
	gue          bool
}

func (k kind) String() string {
	name := "ipip"
	if k.gue {
		name = "gue"
	}
	return map[int]string{4: "4", 6: "6"}[k.inner] + "-in-" + map[int]string{4: "4", 6: "6"}[k.outer] + "-" + name
}

func kinds() (all []kind) {
	for _, o := range []int{4, 6} {
		for _, i := range []int{4, 6} {
			all = append(all, kind{o, i, false}, kind{o, i, true})
		}
	}
	return all
}

func (k kind) proto() byte {
	switch {
	case k.gue:
		return protoUDP
	case k.inner == 4:
		return protoIPIP
	}
	return protoIPv6
}

func (k kind) header() ip { return outer(k.outer, k.proto()) }

// wrap puts a packet into the tunnel.
func (k kind) wrap(header ip, packet []byte) []byte {
	if k.gue {
		packet = udp(port, 0, packet)
	}
	return frame(header.over(packet))
}

// reason is the counter that a packet moves when it is taken out.
func (k kind) reason() string {
	if k.gue {
		return "DECAP_GUE"
	}
	return "DECAP_IPIP"
}
