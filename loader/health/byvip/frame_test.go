package byvip

import (
	"bytes"
	"net/netip"
	"testing"

	"weir/loader/health/syn"
	"weir/loader/lb"
)

var (
	vip4, vip6       = netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:80")
	client4, client6 = netip.MustParseAddrPort("10.0.0.5:63488"), netip.MustParseAddrPort("[fd00::5]:63488")
)

func TestFrames(t *testing.T) {
	backend4, backend6 := netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("fd00::11")
	w := way{
		hop:    lb.NextHop{SrcMAC: [6]byte{2, 0, 0, 0, 0, 1}, DstMAC: [6]byte{2, 0, 0, 0, 0, 2}},
		tunnel: lb.Tunnel{GUEPort: 6080, Source4: netip.MustParsePrefix("172.16.0.0/16"), Source6: netip.MustParsePrefix("100::/64")},
	}
	s4, s6 := syn.Segment{From: client4, To: vip4, Seq: 1, Flags: syn.SYN}, syn.Segment{From: client6, To: vip6, Seq: 1, Flags: syn.SYN}
	plain4, plain6 := s4.AppendPacket(nil), s6.AppendPacket(nil)
	for _, c := range []struct {
		name    string
		forward lb.Forward
		backend netip.Addr
		segment syn.Segment
		kind    string // EtherType
		outer   int    // bytes before the packet
		proto   byte   // of the outer header
		packet  []byte
	}{
		{"dsr", lb.DSR, backend4, s4, "\x08\x00", 0, 0, plain4},
		{"dsr IPv6", lb.DSR, backend6, s6, "\x86\xdd", 0, 0, plain6},
		{"4 in 4", lb.IPIP, backend4, s4, "\x08\x00", 20, syn.ProtoIPIP, plain4},
		{"6 in 6", lb.IPIP, backend6, s6, "\x86\xdd", 40, syn.ProtoIPv6, plain6},
		{"6 in 4", lb.IPIP, backend4, s6, "\x08\x00", 20, syn.ProtoIPv6, plain6},
		{"GUE", lb.GUE, backend4, s4, "\x08\x00", 28, syn.ProtoUDP, plain4},
		{"GUE IPv6", lb.GUE, backend6, s4, "\x86\xdd", 48, syn.ProtoUDP, plain4},
	} {
		w.forward, w.backend = c.forward, c.backend
		f := w.frame(c.segment)
		if string(f[:12]) != "\x02\x00\x00\x00\x00\x02\x02\x00\x00\x00\x00\x01" || string(f[12:14]) != c.kind {
			t.Errorf("%s: Ethernet header %x", c.name, f[:14])
		}
		if !bytes.Equal(f[14+c.outer:], c.packet) {
			t.Errorf("%s: packet %x, want %x", c.name, f[14+c.outer:], c.packet)
		}
		if c.outer == 0 {
			continue
		}
		proto, to := f[14+9], f[14+16:14+20]
		if c.backend.Is6() {
			proto, to = f[14+6], f[14+24:14+40]
		} else if sum := onesSum(f[14:34]); sum != 0xffff {
			t.Errorf("%s: checksum of the outer header is off by %x", c.name, sum)
		}
		if proto != c.proto || !bytes.Equal(to, c.backend.AsSlice()) {
			t.Errorf("%s: outer header of protocol %d to %x", c.name, proto, to)
		}
	}
}

// onesSum is the sum of a header with its checksum (RFC 1071): all ones.
func onesSum(b []byte) uint32 {
	n := uint32(0)
	for i := 0; i < len(b); i += 2 {
		n += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for n>>16 != 0 {
		n = n&0xffff + n>>16
	}
	return n
}
