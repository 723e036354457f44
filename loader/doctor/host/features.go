package host

import (
	"encoding/binary"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"weir/loader/doctor"
)

// The generic netlink family "netdev" (linux/netdev.h, Linux 6.3).
const (
	netdevDevGet      = 1 // NETDEV_CMD_DEV_GET
	netdevIfindex     = 1 // NETDEV_A_DEV_IFINDEX
	netdevXDPFeatures = 3 // NETDEV_A_DEV_XDP_FEATURES
	xdpBasic          = 1 // NETDEV_XDP_ACT_BASIC: pass, drop, send back
	xdpTransmit       = 4 // NETDEV_XDP_ACT_NDO_XMIT: takes redirected frames
)

// xdpFeatures is what the driver of an interface can do; not Known on kernels
// that cannot say.
func xdpFeatures(index int) doctor.XDP {
	family, err := netlink.GenlFamilyGet("netdev")
	if err != nil {
		return doctor.XDP{}
	}
	req := nl.NewNetlinkRequest(int(family.ID), 0)
	req.AddData(&nl.Genlmsg{Command: netdevDevGet, Version: 1})
	req.AddData(nl.NewRtAttr(netdevIfindex, binary.NativeEndian.AppendUint32(nil, uint32(index))))
	answers, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil || len(answers) == 0 {
		return doctor.XDP{}
	}
	attrs, err := nl.ParseRouteAttr(answers[0][nl.SizeofGenlmsg:])
	if err != nil {
		return doctor.XDP{}
	}
	return featuresIn(attrs)
}

func featuresIn(attrs []syscall.NetlinkRouteAttr) doctor.XDP {
	for _, a := range attrs {
		if a.Attr.Type == netdevXDPFeatures && len(a.Value) == 8 {
			bits := binary.NativeEndian.Uint64(a.Value)
			return doctor.XDP{Known: true, Native: bits&xdpBasic != 0, Transmit: bits&xdpTransmit != 0}
		}
	}
	return doctor.XDP{}
}
