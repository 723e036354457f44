package netlab

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Bond makes a bond of interfaces of the namespace, which it takes down and up
// again, and brings it up. Where the kernel has no bonds the error is
// ErrNoKernelSupport.
func (n *NS) Bond(name string, mac net.HardwareAddr, mode netlink.BondMode, slaves ...string) error {
	err := n.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = name, mac
		bond := netlink.NewLinkBond(attrs)
		bond.Mode, bond.Miimon = mode, 100
		if err := netlink.LinkAdd(bond); err != nil {
			return err
		}
		for _, slave := range slaves {
			link, err := netlink.LinkByName(slave)
			if err != nil {
				return err
			}
			if err := errors.Join(netlink.LinkSetDown(link), netlink.LinkSetBondSlave(link, bond)); err != nil {
				return fmt.Errorf("slave %s: %w", slave, err)
			}
		}
		return setUp(name)
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = fmt.Errorf("%w: %w", ErrNoKernelSupport, err)
	}
	if err != nil {
		return fmt.Errorf("creating bond %s/%s: %w", n.Name, name, err)
	}
	return nil
}

// plugBond joins a host's NIC to a port of the switch, both bonds of two links.
func (t *Topology) plugBond(ns *NS, port string, number int) error {
	const second = 100 // number of the other link
	for i, link := range []string{".a", ".b"} {
		err := Veth(
			End{NS: ns, Name: NIC + link, MAC: mac(hostSide, number+i*second)},
			End{NS: t.Switch, Name: port + link, MAC: mac(switchSide, number+i*second)},
		)
		if err != nil {
			return err
		}
	}
	err := ns.Bond(NIC, mac(hostSide, number), t.opts.Bond, NIC+".a", NIC+".b")
	if err != nil {
		return err
	}
	if err := t.Switch.Bond(port, mac(switchSide, number), t.opts.Bond, port+".a", port+".b"); err != nil {
		return err
	}
	return t.Switch.Enslave(port, bridgeName)
}
