package dsr

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const loopback = "lo"

// host is the network namespace, by netlink.
type host struct {
	nl *netlink.Handle
	lo netlink.Link
}

func openHost() (*host, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	h := &host{nl: handle}
	if h.lo, err = handle.LinkByName(loopback); err != nil {
		h.close()
		return nil, fmt.Errorf("interface %s: %w", loopback, err)
	}
	return h, nil
}

func (h *host) close() { h.nl.Close() }

// link finds an interface and says what to choose from if there is none.
func (h *host) link(name string) (netlink.Link, error) {
	found, err := h.nl.LinkByName(name)
	if err == nil {
		return found, nil
	}
	var none netlink.LinkNotFoundError
	if !errors.As(err, &none) {
		return nil, fmt.Errorf("interface %s: %w", name, err)
	}
	links, err := h.nl.LinkList()
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	var names []string
	for _, l := range links {
		if l.Attrs().Index != h.lo.Attrs().Index {
			names = append(names, l.Attrs().Name)
		}
	}
	return nil, fmt.Errorf("interface %q does not exist: name one of %s with --interface", name, strings.Join(names, ", "))
}

// place is an address and the index of an interface that has it.
type place struct {
	addr  netip.Addr
	iface int
}

// addresses are all that the host has.
func (h *host) addresses() ([]place, error) {
	list, err := h.nl.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	all := make([]place, 0, len(list))
	for _, a := range list {
		if addr, ok := netip.AddrFromSlice(a.IP); ok {
			all = append(all, place{addr.Unmap(), a.LinkIndex})
		}
	}
	return all, nil
}

func ipNet(vip netip.Addr) *net.IPNet {
	return &net.IPNet{IP: vip.AsSlice(), Mask: net.CIDRMask(vip.BitLen(), vip.BitLen())}
}

// localTimeout bounds the wait for the route of an address that was added.
const localTimeout = 5 * time.Second

// addVIP puts a VIP on the loopback interface. It returns when packets for it
// are delivered. It being there already is no error.
func (h *host) addVIP(vip netip.Addr) error {
	addr := &netlink.Addr{IPNet: ipNet(vip)}
	if vip.Is6() {
		// Deprecated, so that the host's own connections do not come from
		// the VIP (RFC 6724, 5, rule 3).
		addr.Flags, addr.ValidLft, addr.PreferedLft = unix.IFA_F_NODAD, math.MaxUint32, 0
	}
	err := h.nl.AddrAdd(h.lo, addr)
	switch {
	case err == nil, errors.Is(err, unix.EEXIST):
		return h.awaitLocal(vip)
	case vip.Is6() && (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EOPNOTSUPP)):
		return fmt.Errorf("adding VIP %s to %s: IPv6 is off: sysctl -w net.ipv6.conf.%s.disable_ipv6=0", vip, loopback, loopback)
	}
	return fmt.Errorf("adding VIP %s to %s: %w", vip, loopback, err)
}

// awaitLocal waits for the local route, which for IPv6 the kernel adds later
// (net/ipv6/addrconf.c, addrconf_dad_work).
func (h *host) awaitLocal(vip netip.Addr) error {
	for deadline := time.Now().Add(localTimeout); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		routes, err := h.nl.RouteGet(vip.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return nil
		}
	}
	return fmt.Errorf("VIP %s on %s: no local route appeared within %s", vip, loopback, localTimeout)
}

// removeVIP removes it; somebody having done so before is no error.
func (h *host) removeVIP(vip netip.Addr) error {
	err := h.nl.AddrDel(h.lo, &netlink.Addr{IPNet: ipNet(vip)})
	if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("removing VIP %s from %s: %w", vip, loopback, err)
	}
	return nil
}

// answersElsewhere tells whether a default route of IPv4 leaves by another
// interface than this one.
func (h *host) answersElsewhere(iface int) (bool, error) {
	routes, err := h.nl.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return false, fmt.Errorf("listing routes: %w", err)
	}
	for _, r := range routes {
		if isDefault(r.Dst) && !leavesBy(r, iface) {
			return true, nil
		}
	}
	return false, nil
}

func isDefault(dst *net.IPNet) bool {
	if dst == nil {
		return true
	}
	ones, _ := dst.Mask.Size()
	return ones == 0
}

func leavesBy(r netlink.Route, iface int) bool {
	for _, hop := range r.MultiPath {
		if hop.LinkIndex == iface {
			return true
		}
	}
	return r.LinkIndex == iface
}
