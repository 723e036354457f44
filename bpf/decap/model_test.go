package decap_test

import (
	"net/netip"
	"slices"
)

// model is what the program has to do, without regard to speed: the verdict,
// the frame and the reason.
func model(in []byte) (verdict, []byte, string) {
	o, stop := modelOuter(in)
	if stop != "" {
		return pass, in, stop
	}
	packet := slices.Clone(in[o.at:])
	version, dst, stop := modelInner(o, packet)
	if stop != "" {
		return pass, in, stop
	}
	if dst != vip4 && dst != vip6 {
		return pass, in, "PASS_FOREIGN"
	}
	if !modelECN(o.ecn, version, packet) {
		return drop, in, "DROP_ECN"
	}
	etherType := []byte{0x08, 0x00}
	if version == 6 {
		etherType = []byte{0x86, 0xdd}
	}
	reason := "DECAP_IPIP"
	if o.proto == protoUDP {
		reason = "DECAP_GUE"
	}
	return pass, slices.Concat(in[:12], etherType, packet), reason
}

// opened is an outer packet: where the inner begins, and how long it can be.
type opened struct {
	at, room   int
	proto, ecn byte
}

func modelOuter(in []byte) (opened, string) {
	if len(in) < 14 {
		return opened{}, "PASS_NOT_IP"
	}
	var o opened
	var dst netip.Addr
	var stop string
	packet := in[14:]
	switch be16(in[12:]) {
	case 0x0800:
		o, dst, stop = modelOuter4(packet)
	case 0x86dd:
		o, dst, stop = modelOuter6(packet)
	case 0x8100, 0x88a8:
		stop = "PASS_VLAN"
	default:
		stop = "PASS_NOT_IP"
	}
	if stop == "" && o.proto == protoUDP {
		o, stop = modelUDP(packet, o)
	}
	switch {
	case stop != "":
	case dst != local4 && dst != local6:
		stop = "PASS_NOT_LOCAL"
	case dst.Is4() && checksum(packet[:packet[0]&15*4]) != 0:
		stop = "PASS_MALFORMED"
	}
	o.at += 14
	return o, stop
}

func modelOuter4(p []byte) (o opened, dst netip.Addr, stop string) {
	if len(p) < 20 {
		return o, dst, "PASS_MALFORMED"
	}
	header, total := int(p[0]&15)*4, be16(p[2:])
	o = opened{at: header, room: total - header, proto: p[9], ecn: p[1] & 3}
	dst, _ = netip.AddrFromSlice(p[16:20])
	switch {
	case o.proto != protoIPIP && o.proto != protoIPv6 && o.proto != protoUDP:
		stop = "PASS_NOT_TUNNEL"
	case p[0]>>4 != 4 || header < 20 || total < header || total > len(p):
		stop = "PASS_MALFORMED"
	case be16(p[6:])&0x3fff != 0:
		stop = "PASS_FRAGMENT"
	}
	return o, dst, stop
}

func modelOuter6(p []byte) (o opened, dst netip.Addr, stop string) {
	if len(p) < 40 {
		return o, dst, "PASS_MALFORMED"
	}
	o = opened{at: 40, room: be16(p[4:]), proto: p[6], ecn: p[1] >> 4 & 3}
	dst, _ = netip.AddrFromSlice(p[24:40])
	switch {
	case o.proto == 44:
		stop = "PASS_FRAGMENT"
	case o.proto != protoIPIP && o.proto != protoIPv6 && o.proto != protoUDP:
		stop = "PASS_NOT_TUNNEL"
	case p[0]>>4 != 6 || 40+o.room > len(p):
		stop = "PASS_MALFORMED"
	}
	return o, dst, stop
}

func modelUDP(p []byte, o opened) (opened, string) {
	if o.room < udpSize || o.at+udpSize > len(p) {
		return o, "PASS_MALFORMED"
	}
	header := p[o.at:]
	length := be16(header[4:])
	switch {
	case be16(header[2:]) != port:
		return o, "PASS_NOT_TUNNEL"
	case length < udpSize || length > o.room:
		return o, "PASS_MALFORMED"
	}
	o.at, o.room = o.at+udpSize, length-udpSize
	return o, ""
}

func modelInner(o opened, p []byte) (version byte, dst netip.Addr, stop string) {
	const malformed = "PASS_INNER_MALFORMED"
	if o.room < 1 {
		return 0, dst, malformed
	}
	version = p[0] >> 4
	switch {
	case version == 4 && o.proto != protoIPv6 && o.room >= 20:
		header, total := int(p[0]&15)*4, be16(p[2:])
		if header < 20 || total < header || total > o.room {
			return 0, dst, malformed
		}
		dst, _ = netip.AddrFromSlice(p[16:20])
	case version == 6 && o.proto != protoIPIP && o.room >= 40:
		if 40+be16(p[4:]) > o.room {
			return 0, dst, malformed
		}
		dst, _ = netip.AddrFromSlice(p[24:40])
	default:
		return 0, dst, malformed
	}
	return version, dst, ""
}

// after is figure 4 of RFC 6040: [inner][outer]; 0xff drops.
var after = [4][4]byte{
	notECT: {notECT: notECT, ect0: notECT, ect1: notECT, ce: 0xff},
	ect0:   {notECT: ect0, ect0: ect0, ect1: ect1, ce: ce},
	ect1:   {notECT: ect1, ect0: ect1, ect1: ect1, ce: ce},
	ce:     {notECT: ce, ect0: ce, ect1: ce, ce: ce},
}

// modelECN writes the inner packet's ECN field; false drops it. What was wrong
// about a checksum before stays wrong.
func modelECN(outer, version byte, p []byte) bool {
	if version == 6 {
		then := after[p[1]>>4&3][outer]
		p[1] = p[1]&^0x30 | then&3<<4
		return then != 0xff
	}
	now := p[1] & 3
	then := after[now][outer]
	if then == 0xff {
		return false
	}
	sum := int(^uint16(be16(p[10:]))) + int(then) - int(now)
	for sum > 0xffff || sum < 0 {
		sum = sum&0xffff + sum>>16
	}
	if then != now {
		p[10], p[11] = byte(^sum>>8), byte(^sum)
	}
	p[1] = p[1]&^3 | then
	return true
}
