package carry

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/lb"
	"weir/loader/netlab"
)

const narrowMTU = 1400

// The way to the backends is narrow, which weir knows of its routes: uploads in
// tunnels get through, since weir tells the clients what fits, and nobody
// fragments.
func TestNarrowWayToBackends(t *testing.T) {
	for _, p := range append(tunnels(), byKernel(direct(lb.IPIP, lb.GUE))...) {
		t.Run(p.String(), func(t *testing.T) {
			l := newLab(t, p)
			l.narrowBackends(t)
			l.run(t)
			l.clients.requests(t, 16, 1<<20)
			if drops := l.nodes[0].drops(t); drops["too_big"] == 0 || len(drops) > 1 {
				t.Errorf("dropped: %v, want too_big alone", drops)
			}
			l.unfragmented(t)
		})
	}
}

// narrowBackends makes the switch and the backends drop what is too long, and
// the balancer's routes say so.
func (l *lab) narrowBackends(t *testing.T) {
	t.Helper()
	for i, b := range l.Backends {
		must(t, setMTU(l.Switch, fmt.Sprintf("backend%d", i), narrowMTU), setMTU(b.NS, netlab.NIC, narrowMTU),
			addRoute(l.Balancer, netlink.Route{Dst: ipNet(single(b.Addr)), MTU: narrowMTU}, netlab.NIC))
	}
}

// Answers are too big for a link behind a router. What the router says about
// it goes to another node than the one that has the flow, and still reaches
// the backend: else nothing would get through.
func TestTooBigByOtherNode(t *testing.T) {
	plans := append(direct(lb.NAT, lb.DSR), tunnels()...)
	for _, p := range append(plans, byKernel(direct(lb.IPIP, lb.GUE))...) {
		t.Run(p.String(), func(t *testing.T) {
			l := newLab(t, p)
			l.addNarrowClients(t, l.addSecondNode(t))
			l.run(t)
			began := l.nodes[1].status(t).Totals.Packets
			l.clients.requests(t, 60, 64<<10)
			steered := l.nodes[1].status(t).Totals
			if steered.Packets == began || steered.Flows > 0 {
				t.Errorf("the other node forwarded %d packets, and %d flows; want some, and none", steered.Packets-began, steered.Flows)
			}
			l.nothingDropped(t)
			l.unfragmented(t)
		})
	}
}

// The same with one node.
func TestTooBigBySameNode(t *testing.T) {
	for _, p := range direct(lb.NAT, lb.DSR) {
		t.Run(p.String(), func(t *testing.T) {
			l := newLab(t, p)
			l.addNarrowClients(t, l.BalancerAddr)
			l.run(t)
			l.clients.requests(t, 60, 64<<10)
			l.nothingDropped(t)
			l.unfragmented(t)
		})
	}
}

func (l *lab) nothingDropped(t *testing.T) {
	t.Helper()
	for i, n := range l.nodes {
		if drops := n.drops(t); len(drops) > 0 {
			t.Errorf("node %d dropped: %v", i, drops)
		}
	}
}

// Host numbers of those who join.
const (
	secondNodeNumber = 230
	routerNumber     = 231
)

// addSecondNode adds a balancer with the same configuration, and returns its
// address.
func (l *lab) addSecondNode(t *testing.T) netip.Addr {
	t.Helper()
	ns, err := l.NewHost("lb2")
	must(t, err)
	must(t, ns.Forwarding())
	addr, _, err := l.Join(ns, "lb2", secondNodeNumber)
	must(t, err)
	l.addNode(t, ns)
	return addr
}

// Far away are clients whose link is narrow.
const (
	farNet4, farNet6 = "10.81.0.0/24", "fd81::/64"
	farClients       = 8
)

// addNarrowClients makes requests come from behind a router with a narrow
// link. The router sends to the VIP by the balancer, and messages of its own by
// the node whose address is given.
func (l *lab) addNarrowClients(t *testing.T, messagesBy netip.Addr) {
	t.Helper()
	far, err := l.NewHost("far")
	must(t, err)
	router, err := l.NewHost("router")
	must(t, err)
	near, _, err := l.Join(router, "router", routerNumber)
	must(t, err)
	must(t, router.Forwarding(),
		netlab.Veth(netlab.End{NS: far, Name: netlab.NIC}, netlab.End{NS: router, Name: "far"}),
		setMTU(far, netlab.NIC, narrowMTU), setMTU(router, "far", narrowMTU),
		router.AddRoute(single(l.VIP), l.BalancerAddr),
		ownPackets(router, l.VIP, messagesBy))
	net := l.farNet()
	for i := range farClients {
		addr := nth(net, 2+i)
		must(t, far.AddAddr(netlab.NIC, netip.PrefixFrom(addr, net.Bits())))
		l.clients.sources = append(l.clients.sources, addr)
	}
	l.clients.ns, l.clients.sources = far, l.clients.sources[len(l.ClientAddrs):]
	must(t, router.AddAddr("far", netip.PrefixFrom(nth(net, 1), net.Bits())),
		// As if the link were as wide as others: else answers would be
		// short by themselves.
		addRoute(far, netlink.Route{Dst: ipNet(single(l.VIP)), Gw: nth(net, 1).AsSlice(), AdvMSS: 1500 - 60}, netlab.NIC))
	for _, ns := range l.answering() {
		must(t, ns.AddRoute(net, near))
	}
}

func (l *lab) farNet() netip.Prefix {
	if l.plan.vip == 6 {
		return netip.MustParsePrefix(farNet6)
	}
	return netip.MustParsePrefix(farNet4)
}

// answering are the hosts from which answers go to the clients.
func (l *lab) answering() []*netlab.NS {
	if !l.plan.forward.KeepsPacket() {
		return []*netlab.NS{l.Balancer}
	}
	var all []*netlab.NS
	for _, b := range l.Backends {
		all = append(all, b.NS)
	}
	return all
}

// ownPackets makes a router send packets of its own to an address by another
// way than those of others.
func ownPackets(router *netlab.NS, dst, by netip.Addr) error {
	const table = 100
	return router.Do(func() error {
		rule := netlink.NewRule()
		rule.IifName, rule.Table, rule.Priority = "lo", table, 10
		rule.Family = unix.AF_INET
		if dst.Is6() {
			rule.Family = unix.AF_INET6
		}
		return errors.Join(
			netlink.RuleAdd(rule),
			netlink.RouteAdd(&netlink.Route{Dst: ipNet(single(dst)), Gw: by.AsSlice(), Table: table}),
		)
	})
}

func setMTU(ns *netlab.NS, iface string, mtu int) error {
	return ns.Do(func() error {
		link, err := netlink.LinkByName(iface)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(link, mtu)
	})
}

func addRoute(ns *netlab.NS, r netlink.Route, iface string) error {
	return ns.Do(func() error {
		link, err := netlink.LinkByName(iface)
		if err != nil {
			return err
		}
		r.LinkIndex = link.Attrs().Index
		return netlink.RouteAdd(&r)
	})
}

// unfragmented: no host has taken a packet apart or put one together.
func (l *lab) unfragmented(t *testing.T) {
	t.Helper()
	hosts := []*netlab.NS{l.Balancer, l.clients.ns}
	for _, b := range l.Backends {
		hosts = append(hosts, b.NS)
	}
	for _, ns := range hosts {
		must(t, ns.Do(func() error {
			found, err := fragments()
			for _, f := range found {
				t.Errorf("%s: %s", ns.Name, f)
			}
			return err
		}))
	}
}

// fragments lists the thread's namespace's counters of fragments that are not
// 0.
func fragments() (found []string, err error) {
	old, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(old), "\n") // two of "Ip:": names, values
	values := strings.Fields(lines[1])
	for i, name := range strings.Fields(lines[0]) {
		if aboutFragments(name) && values[i] != "0" {
			found = append(found, name+" "+values[i])
		}
	}
	file, err := os.Open("/proc/thread-self/net/snmp6")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if n, err := strconv.Atoi(f[1]); aboutFragments(strings.TrimPrefix(f[0], "Ip6")) && (err != nil || n != 0) {
			found = append(found, lines.Text())
		}
	}
	return found, nil
}

func aboutFragments(counter string) bool {
	return slices.Contains([]string{"FragOKs", "FragCreates", "ReasmReqds"}, counter)
}
