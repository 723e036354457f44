package byvip

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"

	"weir/loader/lb"
)

var (
	vip4, vip6       = netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:80")
	client4, client6 = netip.MustParseAddrPort("10.0.0.5:61000"), netip.MustParseAddrPort("[fd00::5]:61000")
)

func answerTo(s segment, flags byte) []byte {
	reply := segment{from: s.to, to: s.from, seq: 7, flags: flags}
	b := ip(reply.from.Addr(), reply.to.Addr(), protoTCP, reply.tcp())
	at := len(b) - 20
	if flags&syn != 0 {
		at -= 4
	}
	copy(b[at+8:], []byte{0x12, 0x34, 0x56, 0x79})
	return b
}

// What the filters in the kernel take and what parse takes is the same.
func TestFilterAndParse(t *testing.T) {
	sent4, sent6 := segment{from: client4, to: vip4}, segment{from: client6, to: vip6}
	low := segment{from: netip.AddrPortFrom(client4.Addr(), 1024), to: vip4}
	options := answerTo(sent4, syn|ack)
	options = append(options[:20:20], append([]byte{1, 1, 1, 0}, options[20:]...)...)
	options[0] = 0x46
	fragment := answerTo(sent4, syn|ack)
	fragment[7] = 1
	udp := answerTo(sent4, syn|ack)
	udp[9] = protoUDP
	udp6 := answerTo(sent6, syn|ack)
	udp6[6] = protoUDP
	for _, c := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"SYN-ACK", answerTo(sent4, syn|ack), true},
		{"RST-ACK", answerTo(sent4, rst|ack), true},
		{"SYN-ACK with IP options", options, true},
		{"SYN", answerTo(sent4, syn), false},
		{"RST", answerTo(sent4, rst), false},
		{"ACK", answerTo(sent4, ack), false},
		{"a later fragment", fragment, false},
		{"UDP", udp, false},
		{"IPv6 SYN-ACK", answerTo(sent6, syn|ack), true},
		{"IPv6 RST-ACK", answerTo(sent6, rst|ack), true},
		{"IPv6 ACK", answerTo(sent6, ack), false},
		{"IPv6 UDP", udp6, false},
	} {
		program := filter4()
		if c.packet[0]>>4 == 6 {
			program = filter6()
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatal(err)
		}
		n, err := vm.Run(c.packet)
		a, is := parse(c.packet)
		if err != nil || (n > 0) != c.want || is != c.want {
			t.Errorf("%s: filter takes %d bytes, %v; parse says %v", c.name, n, err, is)
		}
		if is && (a.ack != 0x12345679 || a.from.Port() != 80 || a.to.Port() != 61000) {
			t.Errorf("%s: parsed as %+v", c.name, a)
		}
	}
	vm, err := bpf.NewVM(filter4())
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := vm.Run(answerTo(low, syn|ack)); n != 0 {
		t.Error("a port of other sockets passes the filter")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(answerTo(segment{from: client4, to: vip4}, syn|ack))
	f.Add(answerTo(segment{from: client6, to: vip6}, rst|ack))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, is := parse(b); is && a.flags&ack == 0 {
			t.Errorf("%x parsed as %+v", b, a)
		}
	})
}

func TestFrames(t *testing.T) {
	backend4, backend6 := netip.MustParseAddr("10.0.0.11"), netip.MustParseAddr("fd00::11")
	w := way{
		hop:    lb.NextHop{SrcMAC: [6]byte{2, 0, 0, 0, 0, 1}, DstMAC: [6]byte{2, 0, 0, 0, 0, 2}},
		tunnel: lb.Tunnel{GUEPort: 6080, Source4: netip.MustParsePrefix("172.16.0.0/16"), Source6: netip.MustParsePrefix("100::/64")},
	}
	s4, s6 := segment{from: client4, to: vip4, seq: 1, flags: syn}, segment{from: client6, to: vip6, seq: 1, flags: syn}
	plain4, plain6 := ip(s4.from.Addr(), s4.to.Addr(), protoTCP, s4.tcp()), ip(s6.from.Addr(), s6.to.Addr(), protoTCP, s6.tcp())
	for _, c := range []struct {
		name    string
		forward lb.Forward
		backend netip.Addr
		segment segment
		kind    string // EtherType
		outer   int    // bytes before the packet
		proto   byte   // of the outer header
		packet  []byte
	}{
		{"dsr", lb.DSR, backend4, s4, "\x08\x00", 0, 0, plain4},
		{"dsr IPv6", lb.DSR, backend6, s6, "\x86\xdd", 0, 0, plain6},
		{"4 in 4", lb.IPIP, backend4, s4, "\x08\x00", 20, protoIPIP, plain4},
		{"6 in 6", lb.IPIP, backend6, s6, "\x86\xdd", 40, protoIPv6, plain6},
		{"6 in 4", lb.IPIP, backend4, s6, "\x08\x00", 20, protoIPv6, plain6},
		{"GUE", lb.GUE, backend4, s4, "\x08\x00", 28, protoUDP, plain4},
		{"GUE IPv6", lb.GUE, backend6, s4, "\x86\xdd", 48, protoUDP, plain4},
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
		} else if sum := checksum(0, f[14:34]); sum != 0 {
			t.Errorf("%s: checksum of the outer header is off by %x", c.name, sum)
		}
		if proto != c.proto || !bytes.Equal(to, c.backend.AsSlice()) {
			t.Errorf("%s: outer header of protocol %d to %x", c.name, proto, to)
		}
	}
}

func TestChecksums(t *testing.T) {
	for _, s := range []segment{{from: client4, to: vip4, seq: 0xfffffffe, flags: syn}, {from: client6, to: vip6, seq: 9, flags: rst}} {
		tcp := s.tcp()
		pseudo := append(s.from.Addr().AsSlice(), s.to.Addr().AsSlice()...)
		pseudo = append(pseudo, 0, protoTCP, 0, byte(len(tcp)))
		if c := checksum(sum(0, pseudo), tcp); c != 0 {
			t.Errorf("checksum of %v is off by %x", s, c)
		}
	}
	if h := ip(client4.Addr(), vip4.Addr(), protoTCP, nil); checksum(0, h) != 0 {
		t.Error("checksum of an IPv4 header is off")
	}
}
