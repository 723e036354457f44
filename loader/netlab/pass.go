package netlab

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// PassAll attaches to a veth end an XDP program that passes everything. What
// a program on the other end sends with XDP_TX is received only then: GRO
// makes the end poll, too, and is enough for redirects, but veth_xdp_flush
// (drivers/net/veth.c) wakes nobody without a program here, so frames wait
// until others come. The program stays as long as the interface.
func (n *NS) PassAll(iface string) error {
	const xdpPass = 2
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name:         "pass",
		Type:         ebpf.XDP,
		License:      "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, xdpPass), asm.Return()},
	})
	if err != nil {
		return fmt.Errorf("loading a program that passes all: %w", err)
	}
	defer prog.Close()
	err = n.Do(func() error {
		link, err := netlink.LinkByName(iface)
		if err != nil {
			return err
		}
		return netlink.LinkSetXdpFdWithFlags(link, prog.FD(), unix.XDP_FLAGS_DRV_MODE)
	})
	if err != nil {
		return fmt.Errorf("attaching a program that passes all to %s/%s: %w", n.Name, iface, err)
	}
	return nil
}
