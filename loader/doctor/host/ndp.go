package host

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"weir/loader/doctor"
)

const (
	ip6Length       = 40
	ndLength        = 24 // solicitation and advertisement without options
	solicitation    = 135
	advertisement   = 136
	optionTargetMAC = 2
	ndHopLimit      = 255 // RFC 4861, 7.1
)

// ndp asks as duplicate address detection does (RFC 4862, 5.4): from the
// unspecified address, so that the answer goes to all and no cache changes.
func ndp() *question {
	return &question{
		etherType: unix.ETH_P_IPV6,
		filter: []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: etherHeader + 6}, // next header
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.IPPROTO_ICMPV6},
			{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: etherHeader + ip6Length}, // type
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: advertisement},
			{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
			{Code: unix.BPF_RET | unix.BPF_K},
		},
		ask:    ndSolicit,
		answer: ndAnswer,
	}
}

func ndSolicit(from doctor.MAC, target netip.Addr) []byte {
	t := target.As16()
	group := [16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]} // RFC 4291, 2.7.1
	b := ether([6]byte{0x33, 0x33, 0xff, t[13], t[14], t[15]}, from, unix.ETH_P_IPV6)
	b = append(b, 0x60, 0, 0, 0, 0, ndLength, unix.IPPROTO_ICMPV6, ndHopLimit)
	b = append(b, make([]byte, 16)...)
	b = append(b, group[:]...)
	nd := append([]byte{solicitation, 0, 0, 0, 0, 0, 0, 0}, t[:]...)
	binary.BigEndian.PutUint16(nd[2:], icmp6Checksum([16]byte{}, group, nd))
	return append(b, nd...)
}

// icmp6Checksum sums the pseudo header (RFC 8200, 8.1) and a message of an
// even length.
func icmp6Checksum(from, to [16]byte, message []byte) uint16 {
	sum := uint32(unix.IPPROTO_ICMPV6) + uint32(len(message))
	for _, part := range [][]byte{from[:], to[:], message} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// ndAnswer takes the MAC address from the option, or from the frame.
func ndAnswer(frame []byte) (netip.Addr, doctor.MAC, bool) {
	if len(frame) < etherHeader+ip6Length+ndLength || frame[etherHeader+7] != ndHopLimit {
		return netip.Addr{}, doctor.MAC{}, false
	}
	nd := frame[etherHeader+ip6Length:]
	if frame[etherHeader+6] != unix.IPPROTO_ICMPV6 || nd[0] != advertisement {
		return netip.Addr{}, doctor.MAC{}, false
	}
	mac := doctor.MAC(frame[6:12])
	if o := nd[ndLength:]; len(o) >= 8 && o[0] == optionTargetMAC && o[1] == 1 {
		mac = doctor.MAC(o[2:8])
	}
	return netip.AddrFrom16([16]byte(nd[8:24])), mac, true
}
