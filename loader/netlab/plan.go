package netlab

import (
	"fmt"
	"net"
	"net/netip"
)

// plan is the addresses of one family. The clients' and the backends' networks
// share the switch; the balancer has an address in both on its single NIC.
type plan struct {
	clientNet, backendNet netip.Prefix // with the balancer's address
	vip                   netip.Addr
}

// Host numbers: the balancer is 1, clients follow from 2, backends from 10.
const (
	sourceNumber = 5 // of the balancer in the backends' network, with SNAT
	firstClient  = 2
	clients      = 8
	firstBackend = 10
	// MaxBackends keeps host numbers within one byte.
	MaxBackends = 200
	firstJoined = 220
)

func planFor(family int) (plan, error) {
	switch family {
	case 4:
		return plan{
			clientNet:  netip.MustParsePrefix("10.80.1.1/24"),
			backendNet: netip.MustParsePrefix("10.80.0.1/24"),
			vip:        netip.MustParseAddr("198.51.100.10"),
		}, nil
	case 6:
		return plan{
			clientNet:  netip.MustParsePrefix("fd80:0:0:1::1/64"),
			backendNet: netip.MustParsePrefix("fd80::1/64"),
			vip:        netip.MustParseAddr("2001:db8:100::10"),
		}, nil
	}
	return plan{}, fmt.Errorf("family %d is not 4 or 6", family)
}

// host is the host with a number, in the network of p.
func host(p netip.Prefix, number int) netip.Prefix {
	b := p.Addr().AsSlice()
	b[len(b)-1] = byte(number)
	addr, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(addr, p.Bits())
}

// backendNumber is the host number of a backend in a network.
func backendNumber(network netip.Prefix, i int) int {
	if network.Addr().Is6() {
		return 0x10 + i // read as digits: fd80::10, fd80::11, …
	}
	return firstBackend + i
}

// single is the prefix that holds one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// anywhere is the default route's prefix of a's family.
func anywhere(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// The sides of a veth pair, for mac.
const (
	hostSide   = 0x48
	switchSide = 0x53
	trunkSide  = 0x54 // VLAN interfaces of the balancer
)

// mac is a locally administered unicast address (the second lowest bit of the
// first byte, IEEE 802) that tells side and host number.
func mac(side byte, number int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 'w', 'e', 'i', side, byte(number)}
}
