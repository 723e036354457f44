// Package nic reads and changes features of network interfaces by the names that
// ethtool(8) uses, over the kernel's generic netlink family "ethtool" (Linux 5.6).
package nic

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Features that take VLAN tags out of frames, or leave them beside frames that
// are sent. A tag of 802.1ad (a provider's, the outer of two) has its own.
const (
	TxVLAN  = "tx-vlan-hw-insert"
	TxOuter = "tx-vlan-stag-hw-insert"
	RxOuter = "rx-vlan-stag-hw-parse"
)

// What linux/ethtool_netlink.h numbers.
const (
	family   = "ethtool"
	getAll   = 11 // ETHTOOL_MSG_FEATURES_GET
	change   = 12 // ETHTOOL_MSG_FEATURES_SET
	header   = 1  // ETHTOOL_A_FEATURES_HEADER
	wanted   = 3  // ETHTOOL_A_FEATURES_WANTED
	active   = 4  // ETHTOOL_A_FEATURES_ACTIVE
	device   = 2  // ETHTOOL_A_HEADER_DEV_NAME
	bits     = 3  // ETHTOOL_A_BITSET_BITS
	bit      = 1  // ETHTOOL_A_BITSET_BITS_BIT
	bitName  = 2  // ETHTOOL_A_BITSET_BIT_NAME
	typeMask = ^uint16(unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
)

// Active is the set of features that an interface of the current namespace has
// turned on.
func Active(iface string) (map[string]bool, error) {
	req, err := request(getAll, iface)
	if err != nil {
		return nil, err
	}
	answers, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return nil, fmt.Errorf("read the features of %s: %w", iface, err)
	}
	on := map[string]bool{}
	for _, a := range answers {
		if len(a) < nl.SizeofGenlmsg {
			return nil, fmt.Errorf("read the features of %s: an answer of %d bytes", iface, len(a))
		}
		if err := namesIn(a[nl.SizeofGenlmsg:], on); err != nil {
			return nil, fmt.Errorf("read the features of %s: %w", iface, err)
		}
	}
	return on, nil
}

// namesIn adds the names of the bits in an answer's set of active ones.
func namesIn(answer []byte, on map[string]bool) error {
	return each(answer, active, func(set []byte) error {
		return each(set, bits, func(list []byte) error {
			return each(list, bit, func(one []byte) error {
				return each(one, bitName, func(name []byte) error {
					on[unix.ByteSliceToString(name)] = true
					return nil
				})
			})
		})
	})
}

// each calls f with the value of every attribute of a kind.
func each(from []byte, kind uint16, f func([]byte) error) error {
	attrs, err := nl.ParseRouteAttr(from)
	if err != nil {
		return err
	}
	for _, a := range attrs {
		if a.Attr.Type&typeMask == kind {
			if err := f(a.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// TurnOff turns features of an interface of the current namespace off.
func TurnOff(iface string, names ...string) error {
	req, err := request(change, iface)
	if err != nil {
		return err
	}
	set := nl.NewRtAttr(wanted|unix.NLA_F_NESTED, nil)
	list := set.AddRtAttr(bits|unix.NLA_F_NESTED, nil)
	for _, name := range names { // named without a value: cleared
		list.AddRtAttr(bit|unix.NLA_F_NESTED, nil).AddRtAttr(bitName, nl.ZeroTerminated(name))
	}
	req.AddData(set)
	if _, err := req.Execute(unix.NETLINK_GENERIC, 0); err != nil {
		return fmt.Errorf("turn %v of %s off: %w", names, iface, err)
	}
	return nil
}

func request(command uint8, iface string) (*nl.NetlinkRequest, error) {
	f, err := netlink.GenlFamilyGet(family)
	if err != nil {
		return nil, fmt.Errorf("find the kernel's netlink family %s: %w", family, err)
	}
	req := nl.NewNetlinkRequest(int(f.ID), unix.NLM_F_ACK)
	req.AddData(&nl.Genlmsg{Command: command, Version: 1})
	of := nl.NewRtAttr(header|unix.NLA_F_NESTED, nil)
	of.AddRtAttr(device, nl.ZeroTerminated(iface))
	req.AddData(of)
	return req, nil
}
