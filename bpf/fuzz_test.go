package bpf_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"weir/loader/lb"
)

// FuzzPacket runs any bytes through the program. Whatever they are, it ends
// with a verdict of its own, keeps the length, changes nothing that it drops
// as malformed or passes, and of what it sends only what forwarding changes.
func FuzzPacket(f *testing.F) {
	for _, table := range tables() {
		for _, c := range table.cases {
			for _, s := range c.steps {
				f.Add(s.in)
			}
		}
	}
	l := newLab(f)
	services := fuzzServices()
	l.load(f, services...)
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) < 14 || len(in) > 2048 {
			return // no frame; more than one page
		}
		var v verdict
		var out []byte
		err := l.ns.Do(func() (err error) {
			v, out, err = l.run("in0", in)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if wrong := judge(services, in, out, v); wrong != "" {
			t.Errorf("%v: %s\n%s", v, wrong, difference(in, in, out))
		}
	})
}

func fuzzServices() (out []service) {
	for _, f := range []family{ip4, ip6} {
		out = append(out,
			twoBackends(nat(f.web, f.a), nat(f.web, f.b)),
			twoBackends(nat(f.dns, f.a), nat(f.dns, f.b)),
			twoBackends(dsr(f.web2, f.a), dsr(f.web2, f.b)),
			twoBackends(dsr(f.all, f.a), dsr(f.all, f.c)),
			twoBackends(target{f.allUDP, port(f.a, 0), lb.NAT}, target{f.allUDP, port(f.c, 0), lb.NAT}),
		)
	}
	return out
}

// judge says what is wrong with what became of a frame, knowing nothing of the
// program but where addresses are.
func judge(services []service, in, out []byte, v verdict) string {
	if len(in) != len(out) {
		return "the length changed"
	}
	src, dst, ok := addresses(in)
	ours := ok && (isVIP(services, dst) || isReal(services, src))
	switch {
	case v == aborted || v > redirect:
		return "not a verdict of the program"
	case !ours && v != pass:
		return "a packet for somebody else was not passed"
	case bytes.Equal(in, out):
		return ""
	case !ours:
		return "a packet for somebody else was changed"
	}
	return judgeChange(in, out)
}

// judgeAnswer: an echo is turned round, with its checksum as right or as wrong
// as it was.
func judgeAnswer(in, out []byte, header int) string {
	want := slices.Concat(in[6:12], in[:6], in[12:])
	from, at := in[14:header], want[14:header]
	if in[14]>>4 == 4 {
		copy(at[12:], from[16:20])
		copy(at[16:], from[12:16])
	} else {
		copy(at[8:], from[24:40])
		copy(at[24:], from[8:24])
	}
	l4 := messageAt(in, header)
	copy(want[l4:], out[l4:l4+4])
	switch {
	case !bytes.Equal(out, want):
		return "more than an echo's type and checksum changed"
	case int(in[l4])<<8|int(out[l4]) != map[byte]int{4: 8 << 8, 6: 128<<8 | 129}[in[14]>>4]:
		return "no echo turned round"
	case summed(in, l4) != summed(out, l4):
		return "the checksum of the echo does not match the change"
	}
	return ""
}

// messageAt is where an ICMP message begins after IPv6 extension headers.
func messageAt(b []byte, header int) int {
	if b[14]>>4 == 4 {
		return header
	}
	for next := b[20]; next != icmp6; {
		next, header = b[header], header+extensionSize(next, b[header:])
	}
	return header
}

// extensionSize of IPv6; the length of a fragment header is reserved.
func extensionSize(kind uint8, header []byte) int {
	if kind == fragmentation {
		return 8
	}
	return 8 * (int(header[1]) + 1)
}

// laterFragment tells whether a packet that went somewhere has no TCP or UDP
// header.
func laterFragment(b []byte) bool {
	if b[14]>>4 == 4 {
		return binary.BigEndian.Uint16(b[20:])&0x1fff != 0
	}
	header := 14 + 40
	for next := b[20]; next != tcp && next != udp && next != icmp6; {
		if next == fragmentation && binary.BigEndian.Uint16(b[header+2:])&^7 != 0 {
			return true
		}
		next, header = b[header], header+extensionSize(next, b[header:])
	}
	return false
}

// summed is what the checksum of an echo covers but the addresses, which are
// the same.
func summed(b []byte, l4 int) uint16 {
	end := 14 + int(binary.BigEndian.Uint16(b[14+2:]))
	if b[14]>>4 == 6 {
		end = 14 + 40 + int(binary.BigEndian.Uint16(b[14+4:]))
	}
	return balance(b[l4:end])
}

// judgeChange: DSR changes MAC addresses. NAT changes an address, takes one
// hop, and keeps checksums as right or as wrong as they were.
func judgeChange(in, out []byte) string {
	src, dst, _ := addresses(in)
	newSrc, newDst, _ := addresses(out)
	if src == newSrc && src != dst && dst == newDst {
		if !bytes.Equal(in[12:], out[12:]) {
			return "more than MAC addresses changed"
		}
		return ""
	}
	hops, header := 14+7, 14+40
	if src.Is4() {
		hops, header = 14+8, 14+int(in[14]&15)*4
	}
	switch {
	case src == newDst && dst == newSrc:
		return judgeAnswer(in, out, header)
	case src != newSrc && dst != newDst:
		return "both addresses changed"
	case out[hops] != in[hops]-1:
		return "not one hop less"
	case src.Is4() && balance(in[14:header]) != balance(out[14:header]):
		return "the IPv4 header's checksum does not match the change"
	case laterFragment(in):
		if !bytes.Equal(in[header:], out[header:]) {
			return "a fragment without TCP or UDP header was changed behind the IP header"
		}
		return ""
	case src.Is4() && in[23] == udp && in[header+6]|in[header+7] == 0:
		return "" // no checksum to keep
	case covered(in, header) != covered(out, header):
		return "the checksum of TCP or UDP does not match the change"
	}
	return ""
}

// covered sums what the checksum of TCP or UDP covers and what stays as it is.
func covered(b []byte, header int) uint16 {
	if header == 14+40 && b[14]>>4 == 6 {
		end := header + int(binary.BigEndian.Uint16(b[14+4:]))
		return balance(slices.Concat(b[14+8:header], b[header:end]))
	}
	end := 14 + int(binary.BigEndian.Uint16(b[14+2:]))
	if b[23] == icmp { // has no pseudo header
		return balance(b[header:end])
	}
	return balance(slices.Concat(b[14+12:14+20], b[header:end]))
}

// balance is the ones' complement sum, in which 0 and 0xffff are one number.
func balance(b []byte) uint16 {
	if n := sum(0, b); n != 0 {
		return n
	}
	return 0xffff
}

func addresses(b []byte) (src, dst netip.Addr, ok bool) {
	switch b = b[12:]; {
	case binary.BigEndian.Uint16(b) == etherIP4 && len(b) >= 2+20:
		src, _ = netip.AddrFromSlice(b[2+12 : 2+16])
		dst, ok = netip.AddrFromSlice(b[2+16 : 2+20])
	case binary.BigEndian.Uint16(b) == etherIP6 && len(b) >= 2+40:
		src, _ = netip.AddrFromSlice(b[2+8 : 2+24])
		dst, ok = netip.AddrFromSlice(b[2+24 : 2+40])
	}
	return src, dst, ok
}

func isVIP(services []service, a netip.Addr) bool {
	for _, s := range services {
		if s.vip.Addr == a {
			return true
		}
	}
	return false
}

func isReal(services []service, a netip.Addr) bool {
	for _, s := range services {
		for _, b := range s.backends {
			if s.forward == lb.NAT && b.Addr() == a {
				return true
			}
		}
	}
	return false
}
