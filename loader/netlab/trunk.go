package netlab

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/lb"
	"weir/loader/nic"
)

// The balancer's interfaces of a trunk, and those at the switch.
const (
	clientVLAN  = NIC + ".10"   // one tag
	outerVLAN   = NIC + ".20"   // without addresses
	backendVLAN = NIC + ".20.5" // two tags
)

// A trunk has room for two tags: a veth counts those that XDP sends.
const (
	vlanMTU  = 1500
	trunkMTU = vlanMTU + 2*4
)

// VLAN makes an interface that tags on top of another of the namespace, and
// brings it up. A nil MAC address is that of the other. Where the kernel has no
// VLANs the error is ErrNoKernelSupport.
func (n *NS) VLAN(on, name string, tag lb.Tag, mac net.HardwareAddr) error {
	err := n.Do(func() error {
		parent, err := netlink.LinkByName(on)
		if err != nil {
			return err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex, attrs.HardwareAddr, attrs.MTU = name, parent.Attrs().Index, mac, vlanMTU
		link := &netlink.Vlan{LinkAttrs: attrs, VlanId: int(tag.ID), VlanProtocol: netlink.VlanProtocol(tag.Kind)}
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		return setUp(name)
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = fmt.Errorf("%w: %w", ErrNoKernelSupport, err)
	}
	if err != nil {
		return fmt.Errorf("creating VLAN interface %s/%s: %w", n.Name, name, err)
	}
	return nil
}

// TagsInFrames makes a veth end write the tags of what it sends into frames. By
// default they are beside the frame, where XDP at the other end does not see
// them.
func (n *NS) TagsInFrames(iface string) error {
	if err := n.Do(func() error { return nic.TurnOff(iface, nic.TxVLAN, nic.TxOuter) }); err != nil {
		return fmt.Errorf("turning VLAN offload of %s/%s off: %w", n.Name, iface, err)
	}
	return nil
}

// plugTrunk joins a host's NIC to the switch by a link that carries both
// networks in VLANs, each a port of the switch.
func (t *Topology) plugTrunk(ns *NS, port string, number int) error {
	one := lb.Tag{Kind: unix.ETH_P_8021Q, ID: 10}
	outer, inner := lb.Tag{Kind: unix.ETH_P_8021AD, ID: 20}, lb.Tag{Kind: unix.ETH_P_8021Q, ID: 5}
	for _, step := range []func() error{
		func() error { return t.wire(ns, port, number) },
		func() error { return ns.setMTU(NIC, trunkMTU) },
		func() error { return t.Switch.setMTU(port, trunkMTU) },
		func() error { return t.Switch.TagsInFrames(port) },
		func() error { return ns.VLAN(NIC, clientVLAN, one, mac(trunkSide, 1)) },
		func() error { return ns.VLAN(NIC, outerVLAN, outer, nil) },
		func() error { return ns.VLAN(outerVLAN, backendVLAN, inner, mac(trunkSide, 2)) },
		func() error { return t.Switch.VLAN(port, port+".10", one, nil) },
		func() error { return t.Switch.VLAN(port, port+".20", outer, nil) },
		func() error { return t.Switch.VLAN(port+".20", port+".20.5", inner, nil) },
		func() error { return t.Switch.Enslave(port+".10", bridgeName) },
		func() error { return t.Switch.Enslave(port+".20.5", bridgeName) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (n *NS) setMTU(iface string, mtu int) error {
	err := n.Do(func() error {
		link, err := netlink.LinkByName(iface)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(link, mtu)
	})
	if err != nil {
		return fmt.Errorf("setting the MTU of %s/%s to %d: %w", n.Name, iface, mtu, err)
	}
	return nil
}
