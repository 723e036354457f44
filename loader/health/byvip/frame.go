package byvip

import (
	"encoding/binary"
	"net/netip"

	"weir/loader/health/syn"
	"weir/loader/lb"
)

const etherIP4, etherIP6 = 0x0800, 0x86dd

// way is how frames reach a backend.
type way struct {
	hop     lb.NextHop
	backend netip.Addr
	forward lb.Forward
	tunnel  lb.Tunnel
}

// frame is a segment as it goes to the backend: as clients' are, to the VIP.
func (w way) frame(s syn.Segment) []byte {
	packet, outside := s.AppendPacket(nil), s.To.Addr()
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
func (w way) wrap(packet []byte, s syn.Segment) []byte {
	proto := byte(syn.ProtoIPv6)
	if s.To.Addr().Is4() {
		proto = syn.ProtoIPIP
	}
	if w.forward == lb.GUE {
		udp := binary.BigEndian.AppendUint16(nil, 0xc000|s.From.Port())
		udp = binary.BigEndian.AppendUint16(udp, w.tunnel.GUEPort)
		udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(packet)))
		packet, proto = append(append(udp, 0, 0), packet...), syn.ProtoUDP // no checksum (RFC 6935)
	}
	return append(syn.AppendIP(nil, w.outer(s.From.Port()), w.backend, proto, len(packet)), packet...)
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
