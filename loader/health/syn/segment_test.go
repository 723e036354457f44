package syn

import (
	"net/netip"
	"testing"

	"golang.org/x/net/bpf"
)

var (
	vip4, vip6       = netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:80")
	client4, client6 = netip.MustParseAddrPort("10.0.0.5:61000"), netip.MustParseAddrPort("[fd00::5]:61000")
)

func answerTo(s Segment, flags byte) []byte {
	reply := Segment{From: s.To, To: s.From, Seq: 7, Flags: flags}
	b := reply.AppendPacket(nil)
	at := len(b) - 20
	if flags&SYN != 0 {
		at -= 4
	}
	copy(b[at+8:], []byte{0x12, 0x34, 0x56, 0x79})
	return b
}

// What the filters in the kernel take and what parse takes is the same.
func TestFilterAndParse(t *testing.T) {
	sent4, sent6 := Segment{From: client4, To: vip4}, Segment{From: client6, To: vip6}
	low := Segment{From: netip.AddrPortFrom(client4.Addr(), 1024), To: vip4}
	options := answerTo(sent4, SYN|ACK)
	options = append(options[:20:20], append([]byte{1, 1, 1, 0}, options[20:]...)...)
	options[0] = 0x46
	fragment := answerTo(sent4, SYN|ACK)
	fragment[7] = 1
	udp := answerTo(sent4, SYN|ACK)
	udp[9] = ProtoUDP
	udp6 := answerTo(sent6, SYN|ACK)
	udp6[6] = ProtoUDP
	for _, c := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"SYN-ACK", answerTo(sent4, SYN|ACK), true},
		{"RST-ACK", answerTo(sent4, RST|ACK), true},
		{"SYN-ACK with IP options", options, true},
		{"SYN", answerTo(sent4, SYN), false},
		{"RST", answerTo(sent4, RST), false},
		{"ACK", answerTo(sent4, ACK), false},
		{"a later fragment", fragment, false},
		{"UDP", udp, false},
		{"IPv6 SYN-ACK", answerTo(sent6, SYN|ACK), true},
		{"IPv6 RST-ACK", answerTo(sent6, RST|ACK), true},
		{"IPv6 ACK", answerTo(sent6, ACK), false},
		{"IPv6 UDP", udp6, false},
	} {
		program := filter4(FirstDirectPort, LastDirectPort)
		if c.packet[0]>>4 == 6 {
			program = filter6(FirstDirectPort, LastDirectPort)
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatal(err)
		}
		n, err := vm.Run(c.packet)
		a, is := Parse(c.packet)
		if err != nil || (n > 0) != c.want || is != c.want {
			t.Errorf("%s: filter takes %d bytes, %v; parse says %v", c.name, n, err, is)
		}
		if is && (a.Ack != 0x12345679 || a.From.Port() != 80 || a.To.Port() != 61000) {
			t.Errorf("%s: parsed as %+v", c.name, a)
		}
	}
	vm, err := bpf.NewVM(filter4(FirstDirectPort, LastDirectPort))
	if err != nil {
		t.Fatal(err)
	}
	high := Segment{From: netip.AddrPortFrom(client4.Addr(), FirstVIPPort), To: vip4}
	for _, other := range []Segment{low, high} {
		if n, _ := vm.Run(answerTo(other, SYN|ACK)); n != 0 {
			t.Errorf("port %d of others passes the filter", other.From.Port())
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(answerTo(Segment{From: client4, To: vip4}, SYN|ACK))
	f.Add(answerTo(Segment{From: client6, To: vip6}, RST|ACK))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, is := Parse(b); is && a.Flags&ACK == 0 {
			t.Errorf("%x parsed as %+v", b, a)
		}
	})
}

func TestChecksums(t *testing.T) {
	for _, s := range []Segment{{From: client4, To: vip4, Seq: 0xfffffffe, Flags: SYN}, {From: client6, To: vip6, Seq: 9, Flags: RST}} {
		tcp := s.appendTCP(nil)
		pseudo := append(s.From.Addr().AsSlice(), s.To.Addr().AsSlice()...)
		pseudo = append(pseudo, 0, ProtoTCP, 0, byte(len(tcp)))
		if c := checksum(sum(0, pseudo), tcp); c != 0 {
			t.Errorf("checksum of %v is off by %x", s, c)
		}
	}
	if h := AppendIP(nil, client4.Addr(), vip4.Addr(), ProtoTCP, 0); checksum(0, h) != 0 {
		t.Error("checksum of an IPv4 header is off")
	}
}
