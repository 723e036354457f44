package netlab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"weir/loader/lb"
)

// The least DSR balancer there is: frames for the VIP go to one backend's MAC,
// out where they came in. A megabyte each way through it in native mode shows
// that XDP_TX into the switch arrives (the peer polls), that checksums are
// whole, that no frame is larger than the program can take, and that replies
// bypass the balancer.
func TestDSRThroughNativeXDP(t *testing.T) {
	for _, family := range []int{4, 6} {
		t.Run(fmt.Sprint("IPv", family), func(t *testing.T) { throughXDP(t, family) })
	}
}

func throughXDP(t *testing.T, family int) {
	topo := build(t, Options{Backends: 2, Forward: lb.DSR, Family: family})
	// Only the second backend listens, so it must be what answers.
	number := firstBackend + 1
	if family == 6 {
		number = 0x11
	}
	err := topo.Balancer.Do(func() error {
		return attach(t, bounce(topo.VIP, mac(hostSide, number), mac(hostSide, 1)))
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := topo.Backends[1].NS.Listen("tcp", ":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echo(l)
	for _, from := range topo.ClientAddrs {
		transfer(t, topo.Client, from, netip.AddrPortFrom(topo.VIP, 80))
	}
}

func attach(t *testing.T, code asm.Instructions) error {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL", Instructions: code})
	if err != nil {
		return err
	}
	t.Cleanup(func() { prog.Close() })
	nic, err := net.InterfaceByName(NIC)
	if err != nil {
		return err
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: prog, Interface: nic.Index, Flags: link.XDPDriverMode})
	if err != nil {
		return err
	}
	t.Cleanup(func() { l.Close() })
	return nil
}

// bounce sends frames for vip back out with new MAC addresses and passes all
// others. Of an IPv6 destination it compares the first four bytes.
func bounce(vip netip.Addr, dst, src net.HardwareAddr) asm.Instructions {
	const minimum = 14 + 40 // Ethernet and IPv6, or IPv4 and TCP
	etherType, at := uint16(0x0800), int16(14+16)
	if vip.Is6() {
		etherType, at = 0x86dd, 14+24
	}
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // data
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, minimum),
		asm.JGT.Reg(asm.R4, asm.R3, "pass"),
		asm.LoadMem(asm.R5, asm.R2, 12, asm.Half),
		asm.JNE.Imm(asm.R5, int32(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, etherType))), "pass"),
		asm.LoadMem(asm.R5, asm.R2, at, asm.Word),
		asm.LoadImm(asm.R6, int64(binary.NativeEndian.Uint32(vip.AsSlice())), asm.DWord),
		asm.JNE.Reg(asm.R5, asm.R6, "pass"),
	}
	for i, b := range append(append(net.HardwareAddr{}, dst...), src...) {
		code = append(code, asm.StoreImm(asm.R2, int16(i), int64(b), asm.Byte))
	}
	return append(code,
		asm.Mov.Imm(asm.R0, 3), // XDP_TX
		asm.Return(),
		asm.Mov.Imm(asm.R0, 2).WithSymbol("pass"), // XDP_PASS
		asm.Return(),
	)
}
