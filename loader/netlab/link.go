package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a veth pair.
type End struct {
	NS   *NS
	Name string           // of the interface, at most 15 bytes
	MAC  net.HardwareAddr // fixed, so that runs can be compared
}

// Veth joins two namespaces by a veth pair, both ends up and with checksum
// offload off: locally generated packets would otherwise carry partial
// checksums, which a program that rewrites headers cannot repair.
func Veth(a, b End) error {
	err := a.NS.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = a.Name, a.MAC
		link := netlink.NewVeth(attrs)
		link.PeerName, link.PeerHardwareAddr = b.Name, b.MAC
		link.PeerNamespace = netlink.NsFd(b.NS.file.Fd())
		return netlink.LinkAdd(link)
	})
	if err != nil {
		return fmt.Errorf("creating veth %s/%s - %s/%s: %w", a.NS.Name, a.Name, b.NS.Name, b.Name, explain(err))
	}
	return errors.Join(a.bringUp(), b.bringUp())
}

func (e End) bringUp() error {
	err := e.NS.Do(func() error {
		if err := turnOff(e.Name, unix.ETHTOOL_STXCSUM); err != nil {
			return fmt.Errorf("turning tx checksum offload off: %w", err)
		}
		return setUp(e.Name)
	})
	if err != nil {
		return fmt.Errorf("bringing %s/%s up: %w", e.NS.Name, e.Name, err)
	}
	return nil
}

// Bridge makes a bridge in the namespace that forwards from the start: no
// spanning tree, no multicast snooping (neighbour discovery needs no querier).
func (n *NS) Bridge(name string, mac net.HardwareAddr) error {
	err := n.Do(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = name, mac
		snooping := false
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil {
			return explain(err)
		}
		return setUp(name)
	})
	if err != nil {
		return fmt.Errorf("creating bridge %s/%s: %w", n.Name, name, err)
	}
	return nil
}

// Enslave makes an interface a port of a bridge of the same namespace.
func (n *NS) Enslave(port, bridge string) error {
	err := n.Do(func() error {
		p, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		b, err := netlink.LinkByName(bridge)
		if err != nil {
			return err
		}
		return netlink.LinkSetMaster(p, b)
	})
	if err != nil {
		return fmt.Errorf("adding %s to bridge %s/%s: %w", port, n.Name, bridge, err)
	}
	return nil
}

// AddAddr gives an interface an address that is usable when it returns: IPv6
// duplicate address detection is skipped, and the local route awaited, which
// for IPv6 the kernel adds later (net/ipv6/addrconf.c, addrconf_dad_work).
func (n *NS) AddAddr(iface string, p netip.Prefix) error {
	err := n.Do(func() error {
		link, err := netlink.LinkByName(iface)
		if err != nil {
			return err
		}
		addr := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return err
		}
		return awaitLocal(p.Addr())
	})
	if err != nil {
		return fmt.Errorf("adding %s to %s/%s: %w", p, n.Name, iface, err)
	}
	return nil
}

const localTimeout = 5 * time.Second

// awaitLocal waits until the current namespace delivers packets for an address
// locally.
func awaitLocal(a netip.Addr) error {
	for deadline := time.Now().Add(localTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		routes, err := netlink.RouteGet(a.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
	}
	return fmt.Errorf("no local route appeared within %s", localTimeout)
}

// AddRoute routes a prefix through a gateway.
func (n *NS) AddRoute(dst netip.Prefix, via netip.Addr) error {
	err := n.Do(func() error {
		return netlink.RouteAdd(&netlink.Route{Dst: ipNet(dst), Gw: via.AsSlice()})
	})
	if err != nil {
		return fmt.Errorf("routing %s via %s in %s: %w", dst, via, n.Name, err)
	}
	return nil
}

// LoopbackUp brings lo up.
func (n *NS) LoopbackUp() error {
	if err := n.Do(func() error { return setUp("lo") }); err != nil {
		return fmt.Errorf("bringing %s/lo up: %w", n.Name, err)
	}
	return nil
}

func setUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// turnOff turns a feature of an interface of the current namespace off, with
// one of the ethtool commands that take a struct ethtool_value
// (linux/ethtool.h).
func turnOff(iface string, command uint32) error {
	value := struct{ cmd, data uint32 }{cmd: command}
	var ifreq struct { // struct ifreq of linux/if.h: a name and a union of 24 bytes
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	if len(iface) >= unix.IFNAMSIZ {
		return fmt.Errorf("interface name %q is longer than %d bytes", iface, unix.IFNAMSIZ-1)
	}
	copy(ifreq.name[:], iface)
	ifreq.data = unsafe.Pointer(&value)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	defer unix.Close(fd)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifreq)))
	runtime.KeepAlive(&value)
	if errno != 0 {
		return errno
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// explain adds the remedy to the errors a kernel without the link type gives.
func explain(err error) error {
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("%w (the kernel needs CONFIG_VETH and CONFIG_BRIDGE; try `modprobe -a veth bridge`)", err)
	}
	return err
}
