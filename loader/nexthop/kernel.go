package nexthop

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// eventBuffer is the socket's room for events, in bytes: some 20,000 of them
// may wait while Resolve works.
const eventBuffer = 16 << 20

// requestTimeout ends a request that the kernel does not answer.
const requestTimeout = 10 * time.Second

// groups are the events that may change a next hop. New addresses are not
// among them: they are announced as routes too.
var groups = []uint{
	unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH, unix.RTNLGRP_NEXTHOP,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE,
	unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_RULE,
}

// kernel is one network namespace's routing tables.
type kernel struct {
	handle *netlink.Handle
	events *nl.NetlinkSocket // events since openKernel wait here
}

func openKernel() (*kernel, error) {
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, groups...)
	if err != nil {
		return nil, fmt.Errorf("subscribe to network events: %w", err)
	}
	if err := events.SetReceiveBufferSize(eventBuffer, true); err != nil {
		events.Close()
		return nil, fmt.Errorf("set the receive buffer of network events to %d bytes: %w", eventBuffer, err)
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err == nil {
		err = handle.SetSocketTimeout(requestTimeout)
	}
	if err != nil {
		events.Close()
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return &kernel{handle: handle, events: events}, nil
}

func (k *kernel) close() {
	k.events.Close()
	k.handle.Close()
}

// link is an interface that frames may leave by.
type link struct {
	name     string
	mac      [6]byte
	mtu      int  // bytes
	up       bool // set up and with a carrier
	ethernet bool // has a MAC address
	vlan     vlan
}

func linkOf(l netlink.Link) link {
	a := l.Attrs()
	mac, ok := macOf(a.HardwareAddr)
	return link{
		name:     a.Name,
		mac:      mac,
		mtu:      a.MTU,
		up:       a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_LOWER_UP != 0,
		ethernet: ok && a.RawFlags&unix.IFF_LOOPBACK == 0,
		vlan:     vlanOf(l),
	}
}

func macOf(a net.HardwareAddr) (mac [6]byte, ok bool) {
	return mac, copy(mac[:], a) == len(mac) && len(a) == len(mac)
}

// dump runs a dump again while it was interrupted by changes. What still
// changes after that is announced as events.
func dump[T any](what string, f func() (T, error)) (T, error) {
	var out T
	var err error
	for range 3 {
		if out, err = f(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return out, fmt.Errorf("read the kernel's %s: %w", what, err)
	}
	return out, nil
}

func (k *kernel) links() (map[int]link, error) {
	list, err := dump("links", k.handle.LinkList)
	out := make(map[int]link, len(list))
	for _, l := range list {
		out[l.Attrs().Index] = linkOf(l)
	}
	return out, err
}

func (k *kernel) neighbours() (map[hop]neighbour, error) {
	list, err := dump("neighbours", func() ([]netlink.Neigh, error) { return k.handle.NeighList(0, 0) })
	out := make(map[hop]neighbour, len(list))
	for i := range list {
		if h, n, ok := neighbourOf(&list[i]); ok {
			out[h] = n
		}
	}
	return out, err
}

// neighbourOf is false for what is no IP neighbour, such as a bridge's
// forwarding entry.
func neighbourOf(n *netlink.Neigh) (hop, neighbour, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok || (n.Family != unix.AF_INET && n.Family != unix.AF_INET6) || n.Flags&netlink.NTF_PROXY != 0 {
		return hop{}, neighbour{}, false
	}
	mac, _ := macOf(n.HardwareAddr)
	return hop{iface: n.LinkIndex, addr: a}, neighbour{mac: mac, state: uint16(n.State)}, true
}

// route asks which way packets to an address go. That there is no way is no
// error but the route's reason.
func (k *kernel) route(a netip.Addr) (route, error) {
	list, err := k.handle.RouteGet(a.AsSlice())
	if reason, ok := refusals[errnoOf(err)]; ok {
		return route{reason: reason}, nil
	}
	if err != nil {
		return route{}, err
	}
	if len(list) == 0 {
		return route{reason: "no route"}, nil
	}
	return routeOf(a, &list[0]), nil
}

// refusals are the errors by which the kernel says that a route leads
// nowhere.
var refusals = map[unix.Errno]string{
	unix.ENETUNREACH:  "no route",
	unix.EHOSTUNREACH: "the route says unreachable",
	unix.EINVAL:       "the route is a blackhole",
	unix.EACCES:       "the route prohibits it",
}

func errnoOf(err error) (no unix.Errno) {
	errors.As(err, &no)
	return no
}

func routeOf(a netip.Addr, r *netlink.Route) route {
	switch {
	case r.Type == unix.RTN_LOCAL:
		return route{reason: "it is an address of this host"}
	case r.Type != unix.RTN_UNICAST:
		return route{reason: fmt.Sprintf("its route is of type %d, not unicast", r.Type)}
	case r.Encap != nil:
		return route{reason: "its route encapsulates"}
	}
	return route{hop: hop{iface: r.LinkIndex, addr: gatewayOf(a, r)}, mtu: r.MTU}
}

// gatewayOf is the address itself if it is on the link. A route for IPv4 may
// have a gateway of IPv6 (RFC 5549).
func gatewayOf(a netip.Addr, r *netlink.Route) netip.Addr {
	ip := r.Gw
	if via, ok := r.Via.(*netlink.Via); ok {
		ip = via.Addr
	}
	if gw, ok := netip.AddrFromSlice(ip); ok {
		return gw.Unmap()
	}
	return a
}

// ask makes the kernel look for a neighbour, or check a stale one, and
// returns at once.
func (k *kernel) ask(h hop) error {
	return k.handle.NeighSet(&netlink.Neigh{
		LinkIndex: h.iface,
		IP:        h.addr.AsSlice(),
		Flags:     netlink.NTF_USE,
	})
}
