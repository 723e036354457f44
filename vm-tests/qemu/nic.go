package qemu

import (
	"cmp"
	"fmt"
	"net"
)

// NIC is a virtio network interface with what native XDP asks of one: the
// host hands over single, whole packets with complete checksums.
type NIC struct {
	// Tap is the name of an interface on the host that QEMU makes and takes
	// away again; it stays down. Empty: the NIC is plugged into Hub.
	Tap string
	// Hub is the number of a network inside QEMU. NICs of one machine on one
	// hub reach each other.
	Hub int
	// Wire joins two NICs, of two machines as a rule, in place of Hub: each is
	// an End of the wire, 0 or 1. It is the path of two files that QEMU makes,
	// at most 100 bytes.
	Wire string
	End  int
	// Queues is the number of queue pairs. More than 1 needs a Tap.
	Queues int
	// Number gives the NIC the address MAC(Number); 0: its place among those
	// of its machine.
	Number int
}

// MAC is the address of a NIC.
func MAC(i int) net.HardwareAddr { return net.HardwareAddr{0x02, 'w', 'e', 'i', 'V', byte(i)} }

const offloadsOff = "guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"

func (n NIC) args(i int) []string {
	device := fmt.Sprintf("virtio-net-pci,netdev=net%d,mac=%s,romfile=,%s", i, MAC(cmp.Or(n.Number, i)), offloadsOff)
	if n.Queues > 1 {
		// An interrupt for each direction of each queue, one for the
		// configuration and one for the control queue.
		device += fmt.Sprintf(",mq=on,vectors=%d", 2*n.Queues+2)
	}
	return []string{"-netdev", n.netdev(fmt.Sprintf("net%d", i)), "-device", device}
}

func (n NIC) netdev(id string) string {
	switch {
	case n.Tap != "":
		return fmt.Sprintf("tap,id=%s,ifname=%s,script=no,downscript=no,queues=%d", id, n.Tap, n.Queues)
	case n.Wire != "":
		return fmt.Sprintf("dgram,id=%s,local.type=unix,local.path=%s.%d,remote.type=unix,remote.path=%s.%d",
			id, n.Wire, n.End, n.Wire, 1-n.End)
	}
	return fmt.Sprintf("hubport,id=%s,hubid=%d", id, n.Hub)
}
