package qemu

import (
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
	// Queues is the number of queue pairs. More than 1 needs a Tap.
	Queues int
}

// MAC is the address of a machine's i-th NIC.
func MAC(i int) net.HardwareAddr { return net.HardwareAddr{0x02, 'w', 'e', 'i', 'V', byte(i)} }

const offloadsOff = "guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"

func (n NIC) args(i int) []string {
	netdev := fmt.Sprintf("hubport,id=net%d,hubid=%d", i, n.Hub)
	device := fmt.Sprintf("virtio-net-pci,netdev=net%d,mac=%s,romfile=,%s", i, MAC(i), offloadsOff)
	if n.Tap != "" {
		netdev = fmt.Sprintf("tap,id=net%d,ifname=%s,script=no,downscript=no,queues=%d", i, n.Tap, n.Queues)
	}
	if n.Queues > 1 {
		// An interrupt for each direction of each queue, one for the
		// configuration and one for the control queue.
		device += fmt.Sprintf(",mq=on,vectors=%d", 2*n.Queues+2)
	}
	return []string{"-netdev", netdev, "-device", device}
}
