package main

import (
	"encoding/binary"
	"unsafe"

	"weir/bpf/bench"
	"weir/loader/lb"
)

const (
	tcpSYN = 0x02
	tcpACK = 0x10
	ethLen = 14
	tcpLen = 20
)

// newPlan is a plan of TCP packets to a VIP without payload. The generator
// fills in source address and port.
func newPlan(vip lb.VIP, order, flows int, flags byte) bench.BenchPlan {
	plan := bench.BenchPlan{Order: uint32(order), Count: uint32(flows), Version: 4}
	frame := unsafe.Slice((*byte)(unsafe.Pointer(&plan.Frame)), unsafe.Sizeof(plan.Frame))
	copy(frame, []byte{2, 0, 0, 0, 0, 0xa, 2, 0, 0, 0, 0, 0xb})
	ip, tcp := frame[ethLen:], []byte(nil)
	if vip.Addr.Is4() {
		binary.BigEndian.PutUint16(frame[12:], 0x0800)
		ip[0], ip[8], ip[9] = 0x45, 64, byte(vip.Proto)
		binary.BigEndian.PutUint16(ip[2:], 20+tcpLen)
		copy(ip[16:], vip.Addr.AsSlice())
		tcp = ip[20:]
	} else {
		plan.Version = 6
		binary.BigEndian.PutUint16(frame[12:], 0x86dd)
		ip[0], ip[6], ip[7] = 0x60, byte(vip.Proto), 64
		binary.BigEndian.PutUint16(ip[4:], tcpLen)
		copy(ip[8:], []byte{0x20, 1, 0xd, 0xb8, 0, 1})
		copy(ip[24:], vip.Addr.AsSlice())
		tcp = ip[40:]
	}
	binary.BigEndian.PutUint16(tcp[2:], vip.Port)
	tcp[12], tcp[13] = 5<<4, flags
	return plan
}
