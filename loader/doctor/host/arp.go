package host

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"weir/loader/doctor"
)

const (
	etherHeader = 14
	arpLength   = 28 // for Ethernet and IPv4
	arpReply    = 2
)

var broadcast = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// arp asks as RFC 5227 has it: from address 0.0.0.0, so that nobody's cache
// changes.
func arp() *question {
	return &question{
		etherType: unix.ETH_P_ARP,
		filter: []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: etherHeader + 6}, // operation
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 1, K: arpReply},
			{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
			{Code: unix.BPF_RET | unix.BPF_K},
		},
		ask:    arpRequest,
		answer: arpAnswer,
	}
}

func arpRequest(from doctor.MAC, target netip.Addr) []byte {
	b := ether(broadcast, from, unix.ETH_P_ARP)
	b = append(b, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, their lengths, request
	b = append(b, from[:]...)
	b = append(b, 0, 0, 0, 0)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, target.AsSlice()...)
}

func arpAnswer(frame []byte) (netip.Addr, doctor.MAC, bool) {
	if len(frame) < etherHeader+arpLength {
		return netip.Addr{}, doctor.MAC{}, false
	}
	a := frame[etherHeader:]
	if binary.BigEndian.Uint64(a) != 0x0001_0800_0604_0002 { // Ethernet, IPv4, reply
		return netip.Addr{}, doctor.MAC{}, false
	}
	return netip.AddrFrom4([4]byte(a[14:18])), doctor.MAC(a[8:14]), true
}

func ether(to [6]byte, from doctor.MAC, etherType uint16) []byte {
	b := append(to[:], from[:]...)
	return binary.BigEndian.AppendUint16(b, etherType)
}
