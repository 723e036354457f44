package dataplane

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"weir/bpf"
	"weir/loader/lb"
)

const (
	probeHops   = 64
	outerHops   = 64 // OUTER_TTL
	ethHeader   = 14
	ip4Header   = 20
	udpHeader   = 8
	protoIPIP   = 4
	protoIPv6   = 41
	tcpSYN      = 0x02
	tcpACK      = 0x10
	dontPart    = 0x4000
	firstGUEOut = 0xc000
)

func (s *situation) chosen(id uint32, b bpf.WeirBackend) *lb.ChosenBackend {
	c := &lb.ChosenBackend{ID: id, Endpoint: endpointOf(b), Forward: lb.Forward(b.Forward), Resolved: b.Ifindex != 0}
	if c.Resolved {
		c.Interface, c.MTU = int(b.Ifindex), int(b.Mtu)
		c.SrcMAC, c.DstMAC = net.HardwareAddr(b.SrcMac[:]).String(), net.HardwareAddr(b.DstMac[:]).String()
		for _, t := range s.vlans[b.Ifindex].Tag {
			if t.Tpid != 0 {
				c.VLANs = append(c.VLANs, wirePort(t.Tci))
			}
		}
	}
	return c
}

// leave says what the packet looks like when it leaves for a backend.
func (s *situation) leave(id uint32, b bpf.WeirBackend) lb.Outcome {
	t, hops := s.tuple, uint8(probeHops)
	forward := lb.Forward(b.Forward)
	if forward == lb.SNAT {
		source, ok := s.snatSource(id)
		if !ok {
			return outcome(bpf.WeirReasonDROP_SNAT_EXHAUSTED)
		}
		t.src, t.sport = source.Addr(), source.Port()
	}
	if forward.Translates() {
		t.dst, hops = addrOf(b.Addr.Word), hops-1
		if b.Port != 0 {
			t.dport = wirePort(b.Port)
		}
	}
	packet := ipPacket(t, hops, s.ack)
	seen := &lb.Packet{Src: netip.AddrPortFrom(t.src, t.sport), Dst: netip.AddrPortFrom(t.dst, t.dport), Hops: int(hops)}
	family := t.dst
	if forward.Tunnel() {
		family = addrOf(b.Addr.Word)
		packet = s.wrap(packet, b, seen)
		if len(packet) > int(b.Mtu) {
			return outcome(bpf.WeirReasonDROP_TOO_BIG) // too short to be answered
		}
	}
	seen.Length = len(packet)
	return lb.Outcome{Verdict: "sent", Packet: seen, Frame: s.tagged(b, frameOf(b, family, packet))}
}

// tagged is vlan_retag in bpf/vlan.h, for a frame that came without tags.
func (s *situation) tagged(b bpf.WeirBackend, frame []byte) []byte {
	macs, rest := frame[:ethHeader-2], frame[ethHeader-2:]
	out := slices.Clone(macs)
	for _, t := range s.vlans[b.Ifindex].Tag {
		if t.Tpid != 0 {
			out = binary.BigEndian.AppendUint16(out, wirePort(t.Tpid))
			out = binary.BigEndian.AppendUint16(out, wirePort(t.Tci))
		}
	}
	return append(out, rest...)
}

func frameOf(b bpf.WeirBackend, family netip.Addr, packet []byte) []byte {
	f := append(append(make([]byte, 0, ethHeader+len(packet)), b.DstMac[:]...), b.SrcMac[:]...)
	return append(binary.BigEndian.AppendUint16(f, etherType(family)), packet...)
}

func etherType(a netip.Addr) uint16 {
	if a.Is6() {
		return 0x86dd
	}
	return 0x0800
}

// probe is the frame that the program is given.
func (s *situation) probe() []byte {
	return frameOf(bpf.WeirBackend{}, s.tuple.dst, ipPacket(s.tuple, probeHops, s.ack))
}

// ipPacket is a TCP or UDP packet without payload, with checksums.
func ipPacket(t tuple, hops uint8, ack bool) []byte {
	l4 := binary.BigEndian.AppendUint16(nil, t.sport)
	l4 = binary.BigEndian.AppendUint16(l4, t.dport)
	at := 6
	if t.proto == lb.TCP {
		flags := byte(tcpSYN)
		if ack {
			flags = tcpACK
		}
		l4, at = append(l4, 0, 0, 0, 0, 0, 0, 0, 0, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0), 16
	} else {
		l4 = append(l4, 0, udpHeader, 0, 0)
	}
	pseudo := append(t.src.AsSlice(), t.dst.AsSlice()...)
	pseudo = append(pseudo, 0, byte(t.proto), 0, byte(len(l4)))
	sum := ^onesSum(append(pseudo, l4...))
	if sum == 0 && t.proto == lb.UDP {
		sum = 0xffff
	}
	binary.NativeEndian.PutUint16(l4[at:], sum)
	return append(ipHeader(t.src, t.dst, uint8(t.proto), hops, 0, len(l4)), l4...)
}

// ipHeader is of the family of dst; label is IPv6's flow label.
func ipHeader(src, dst netip.Addr, proto, hops uint8, label uint32, payload int) []byte {
	if dst.Is6() {
		h := binary.BigEndian.AppendUint32(nil, 6<<28|label)
		h = binary.BigEndian.AppendUint16(h, uint16(payload))
		return append(append(append(h, proto, hops), src.AsSlice()...), dst.AsSlice()...)
	}
	h := binary.BigEndian.AppendUint16([]byte{0x45, 0}, uint16(ip4Header+payload))
	h = binary.BigEndian.AppendUint16(append(h, 0, 0), dontPart)
	h = append(append(append(h, hops, proto, 0, 0), src.AsSlice()...), dst.AsSlice()...)
	binary.NativeEndian.PutUint16(h[10:], ^onesSum(h))
	return h
}

// wrap is encapsulate in bpf/encap.h.
func (s *situation) wrap(inner []byte, b bpf.WeirBackend, seen *lb.Packet) []byte {
	hash := uint32(s.hash)
	dst, src := addrOf(b.Addr.Word), s.outerSource(b, hash)
	proto, sport, dport := uint8(protoIPIP), uint16(0), uint16(0)
	if s.tuple.dst.Is6() {
		proto = protoIPv6
	}
	if lb.Forward(b.Forward) == lb.GUE {
		proto, sport, dport = uint8(lb.UDP), firstGUEOut|uint16(hash&0x3fff), s.config.Tunnel.GUEPort
		udp := binary.BigEndian.AppendUint16(nil, sport)
		udp = binary.BigEndian.AppendUint16(udp, dport)
		udp = binary.BigEndian.AppendUint16(udp, uint16(udpHeader+len(inner)))
		inner = append(append(udp, 0, 0), inner...)
	}
	seen.OuterSrc, seen.OuterDst = netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)
	return append(ipHeader(src, dst, proto, outerHops, hash&0xfffff, len(inner)), inner...)
}

// outerSource is a configured prefix and bits of the flow's hash.
func (s *situation) outerSource(b bpf.WeirBackend, hash uint32) netip.Addr {
	if b.Family == 4 {
		a := addrBytes(s.config.Tunnel.Source4, 4)
		binary.BigEndian.PutUint16(a[2:], uint16(hash))
		return netip.AddrFrom4([4]byte(a))
	}
	a := addrBytes(s.config.Tunnel.Source6, 16)
	binary.NativeEndian.PutUint32(a[12:], hash)
	return netip.AddrFrom16([16]byte(a))
}

// addrBytes are a prefix's address, zeros for the zero Prefix.
func addrBytes(p netip.Prefix, size int) []byte {
	if !p.IsValid() {
		return make([]byte, size)
	}
	return p.Addr().AsSlice()
}
