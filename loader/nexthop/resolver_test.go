package nexthop

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/control"
	"weir/loader/lb"
)

var _ control.HopResolver = (*Resolver)(nil)

// pair is a balancer and a peer on one link, v4 and v6.
func pair(t testing.TB) (lbHost, peer *host) {
	t.Helper()
	lbHost, peer = newHost(t), newHost(t)
	wire(lbHost, peer, "up0", "srv0")
	lbHost.addr("up0", "10.7.0.1/24")
	lbHost.addr("up0", "fd07::1/64")
	peer.addr("srv0", "10.7.0.2/24")
	peer.addr("srv0", "fd07::2/64")
	return lbHost, peer
}

func TestResolve(t *testing.T) {
	t.Parallel()
	l, peer := pair(t)
	peer.addr("srv0", "fe80::99/64")
	l.addr("up0", "fe80::98/64")
	l.route("10.20.0.0/16", "10.7.0.2", "")
	l.route("fd20::/64", "fd07::2", "")
	l.route("fd30::/64", "fe80::99", "up0")
	l.route("10.21.0.0/16", "10.7.0.2", "", func(r *netlink.Route) { r.MTU = 1400 })
	l.route("10.22.0.0/16", "", "up0", func(r *netlink.Route) {
		r.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: net.ParseIP("fe80::99")}
	})
	r := l.resolver()
	index := l.link("up0").Attrs().Index
	for _, c := range []struct {
		name, addr string
		mtu        int
	}{
		{"neighbour v4", "10.7.0.2", 1500},
		{"neighbour v6", "fd07::2", 1500},
		{"gateway v4", "10.20.1.2", 1500},
		{"gateway v6", "fd20::5", 1500},
		{"link-local gateway", "fd30::5", 1500},
		{"route MTU", "10.21.0.9", 1400},
		{"v4 through a v6 gateway", "10.22.0.9", 1500},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := lb.NextHop{IfIndex: index, SrcMAC: l.mac("up0"), DstMAC: peer.mac("srv0"), MTU: c.mtu}
			if got := await(t, r, c.name, resolved, mustAddr(c.addr)); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if reason := r.Reason(mustAddr(c.addr)); reason != "" {
				t.Errorf("reason %q for a resolved address", reason)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	l, _ := pair(t)
	l.up("lo")
	typed := func(kind int) func(*netlink.Route) {
		return func(r *netlink.Route) { r.Type, r.Gw = kind, nil }
	}
	l.route("10.30.0.0/16", "", "", typed(unix.RTN_BLACKHOLE))
	l.route("10.31.0.0/16", "", "", typed(unix.RTN_UNREACHABLE))
	l.route("10.32.0.0/16", "", "", typed(unix.RTN_PROHIBIT))
	l.route("fd31::/64", "", "", typed(unix.RTN_UNREACHABLE))
	l.route("10.33.0.0/16", "", "lo")
	r := l.resolver()
	for _, c := range []struct{ name, addr, reason string }{
		{"no route v4", "192.0.2.1", "no route"},
		{"no route v6", "2001:db8::1", "no route"},
		{"blackhole", "10.30.0.1", "blackhole"},
		{"unreachable v4", "10.31.0.1", "unreachable"},
		{"unreachable v6", "fd31::1", "unreachable"},
		{"prohibited", "10.32.0.1", "prohibits"},
		{"own address v4", "10.7.0.1", "address of this host"},
		{"own address v6", "fd07::1", "address of this host"},
		{"broadcast", "10.7.0.255", "not unicast"},
		{"no Ethernet", "10.33.0.1", "interface lo has no Ethernet address"},
		{"silent neighbour", "10.7.0.77", "neighbour 10.7.0.77 on up0 has not answered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := mustAddr(c.addr)
			// IPv6 adds the route of an own address a moment later.
			hop := await(t, r, c.reason, func(lb.NextHop) bool { return strings.Contains(r.Reason(a), c.reason) }, a)
			if hop != (lb.NextHop{}) {
				t.Errorf("resolved to %+v", hop)
			}
		})
	}
	if got := r.Reason(mustAddr("10.7.0.2")); !strings.Contains(got, "not among") {
		t.Errorf("reason %q for an address nobody asked about", got)
	}
}

func TestWithoutRunEachResolveIsFresh(t *testing.T) {
	t.Parallel()
	l, _ := pair(t)
	r := l.idleResolver()
	a := mustAddr("10.7.0.2")
	for _, mac := range []string{"02:00:00:00:00:31", "02:00:00:00:00:32"} {
		n := l.neigh("up0", a.String())
		hw, err := net.ParseMAC(mac)
		must(t, err)
		n.HardwareAddr, n.State = hw, unix.NUD_PERMANENT
		must(t, l.nl.NeighSet(n))
		hops, err := r.Resolve([]netip.Addr{a})
		must(t, err)
		if got := hops[a].DstMAC; got != [6]byte(hw) {
			t.Errorf("MAC %x, want %s", got, mac)
		}
	}
}

func TestMACChangeIsAnnounced(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"10.7.0.2", "fd07::2"} {
		t.Run(addr, func(t *testing.T) {
			l, peer := pair(t)
			l.hasten("up0")
			r := l.idleResolver()
			r.revalidate = time.Second
			l.run(r)
			a := mustAddr(addr)
			old := await(t, r, "first answer", resolved, a).DstMAC
			n := l.neigh("up0", addr)
			n.HardwareAddr, n.State = old[:], unix.NUD_STALE
			peer.setMAC("srv0", "02:00:00:00:00:42")
			must(t, l.nl.NeighSet(n)) // only asking anew shows the change
			await(t, r, "new MAC", toMAC(peer.mac("srv0")), a)
		})
	}
}

func TestVanishedNeighbourKeepsItsMAC(t *testing.T) {
	t.Parallel()
	l, peer := pair(t)
	r := l.resolver()
	a := mustAddr("10.7.0.2")
	want := await(t, r, "first answer", resolved, a)
	peer.silence("srv0")
	must(t, l.nl.NeighDel(l.neigh("up0", a.String())))
	awaitState(t, r, hop{want.IfIndex, a}, func(n *neighbour) bool { return !n.alive() })
	hops, err := r.Resolve([]netip.Addr{a})
	must(t, err)
	if hops[a] != want {
		t.Errorf("got %+v, want the old %+v", hops[a], want)
	}
}

// awaitState waits for an event that has nothing to announce.
func awaitState(t *testing.T, r *Resolver, h hop, ok func(*neighbour) bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		r.mu.Lock()
		n := r.neighs[h]
		done := n != nil && ok(n)
		r.mu.Unlock()
		if done {
			return
		}
	}
	t.Fatalf("the state of %v was not reached", h)
}

func TestMovedRouteForgetsKeptMAC(t *testing.T) {
	t.Parallel()
	l, peer := pair(t)
	l.route("10.20.0.0/16", "10.7.0.2", "")
	r := l.resolver()
	a := mustAddr("10.20.0.1")
	first := await(t, r, "first answer", resolved, a)
	peer.silence("srv0")
	must(t, l.nl.NeighDel(l.neigh("up0", "10.7.0.2")))
	awaitState(t, r, hop{first.IfIndex, mustAddr("10.7.0.2")}, func(n *neighbour) bool { return !n.alive() })
	l.route("10.20.0.0/16", "10.7.0.9", "")
	await(t, r, "moved to a silent gateway", unresolved, a)
	l.route("10.20.0.0/16", "10.7.0.2", "")
	await(t, r, "moved back", func(lb.NextHop) bool {
		return strings.Contains(r.Reason(a), "neighbour 10.7.0.2 ")
	}, a)
}

func TestRouteMovesToAnotherLink(t *testing.T) {
	t.Parallel()
	l, peer := pair(t)
	wire(l, peer, "up1", "srv1")
	l.addr("up1", "10.8.0.1/24")
	peer.addr("srv1", "10.8.0.2/24")
	l.route("10.20.0.0/16", "10.7.0.2", "")
	r := l.resolver()
	a, other := mustAddr("10.20.0.1"), mustAddr("10.7.0.2")
	await(t, r, "first link", toMAC(peer.mac("srv0")), a, other)
	l.route("10.20.0.0/24", "10.8.0.2", "")
	got := await(t, r, "second link", toMAC(peer.mac("srv1")), a, other)
	if got.IfIndex != l.link("up1").Attrs().Index || got.SrcMAC != l.mac("up1") {
		t.Errorf("got %+v, want it to leave by up1", got)
	}
}

func TestLinkFlap(t *testing.T) {
	t.Parallel()
	l, _ := pair(t)
	r := l.resolver()
	a, b := mustAddr("10.7.0.2"), mustAddr("fd07::2")
	await(t, r, "before, v4", resolved, a, b)
	await(t, r, "before, v6", resolved, b, a)
	l.down("up0")
	await(t, r, "down", unresolved, a, b)
	l.up("up0")
	await(t, r, "up again, v4", resolved, a, b)
	l.addr("up0", "fd07::1/64") // lost when the link went down
	await(t, r, "up again, v6", resolved, b, a)
}

// quietPair has IPv4 only, so that nothing but the change in question happens.
func quietPair(t *testing.T) (l *host, r *Resolver, a netip.Addr) {
	t.Helper()
	l, peer := newHost(t), newHost(t)
	l.withoutIPv6()
	peer.withoutIPv6()
	wire(l, peer, "up0", "srv0")
	l.addr("up0", "10.7.0.1/24")
	peer.addr("srv0", "10.7.0.2/24")
	r, a = l.resolver(), mustAddr("10.7.0.2")
	await(t, r, "first answer", resolved, a)
	return l, r, a
}

func TestEachChangeIsAnnounced(t *testing.T) {
	t.Parallel()
	l, r, a := quietPair(t)
	announced(t, r, "MTU", func() { must(t, l.nl.LinkSetMTU(l.link("up0"), 1300)) })
	await(t, r, "MTU", func(h lb.NextHop) bool { return h.MTU == 1300 }, a)
	announced(t, r, "source MAC", func() { l.setMAC("up0", "02:00:00:00:00:77") })
	await(t, r, "source MAC", func(h lb.NextHop) bool { return h.SrcMAC == l.mac("up0") }, a)
	other := [6]byte{2, 0, 0, 0, 0, 0x55}
	announced(t, r, "neighbour", func() {
		n := l.neigh("up0", a.String())
		n.HardwareAddr, n.State = other[:], unix.NUD_PERMANENT
		must(t, l.nl.NeighSet(n))
	})
	await(t, r, "neighbour", toMAC(other), a)
	announced(t, r, "more specific route", func() {
		l.route("10.7.0.2/32", "", "", func(r *netlink.Route) { r.Type = unix.RTN_BLACKHOLE })
	})
	await(t, r, "more specific route", unresolved, a)
}

func TestLinkDownIsAnnounced(t *testing.T) {
	t.Parallel()
	l, r, a := quietPair(t)
	announced(t, r, "link down", func() { l.down("up0") })
	await(t, r, "link down", unresolved, a)
	announced(t, r, "link up", func() { l.up("up0") })
	await(t, r, "link up", resolved, a)
}

func TestUnrelatedChangesAreNotAnnounced(t *testing.T) {
	t.Parallel()
	l, _ := pair(t)
	r := l.idleResolver()
	marker := hop{l.link("up0").Attrs().Index, mustAddr("10.7.0.99")}
	next := func() bool { // applies events up to the marker's
		changed := false
		for {
			msgs, _, err := r.kernel.events.Receive()
			must(t, err)
			changed = r.apply(msgs) || changed
			if n := r.neighs[marker]; n != nil {
				delete(r.neighs, marker)
				return changed
			}
		}
	}
	mark := func(last byte) {
		n := l.neigh("up0", marker.addr.String())
		n.HardwareAddr, n.State = net.HardwareAddr{2, 0, 0, 0, 0, last}, unix.NUD_PERMANENT
		must(t, l.nl.NeighSet(n))
	}
	_, err := r.Resolve([]netip.Addr{mustAddr("10.7.0.2")})
	must(t, err)
	mark(1)
	next() // what making the hosts caused
	l.route("10.97.0.0/16", "10.7.0.2", "")
	l.addr("up0", "10.96.0.1/24")
	mark(2)
	if next() {
		t.Error("a route and an address elsewhere count as a change")
	}
	l.route("10.7.0.2/32", "", "up0")
	mark(3)
	if !next() {
		t.Error("a route to the address does not count as a change")
	}
}

func TestRouteAppearsAndGoes(t *testing.T) {
	t.Parallel()
	l, _ := pair(t)
	r := l.resolver()
	for _, c := range []struct{ addr, route, gateway string }{
		{"10.20.0.1", "10.20.0.0/16", "10.7.0.2"},
		{"fd20::1", "::/0", "fd07::2"},
	} {
		a := mustAddr(c.addr)
		await(t, r, "no route", unresolved, a)
		l.route(c.route, c.gateway, "")
		await(t, r, "route added", resolved, a)
		dst, _ := netlink.ParseIPNet(c.route)
		must(t, l.nl.RouteDel(&netlink.Route{Dst: dst, Gw: net.ParseIP(c.gateway)}))
		await(t, r, "route deleted", unresolved, a)
	}
}

func TestProbeFindsClient(t *testing.T) {
	t.Parallel()
	l, peer := pair(t)
	r := l.resolver()
	client := mustAddr("10.7.0.2")
	h := hop{l.link("up0").Attrs().Index, client}
	r.Probe(client)
	awaitState(t, r, h, func(n *neighbour) bool { return n.alive() && n.mac == peer.mac("srv0") })
	r.Probe(mustAddr("192.0.2.9")) // no route: nothing to ask, no harm
}

func TestLostEventsReadEverythingAgain(t *testing.T) {
	t.Parallel()
	l, _ := pair(t)
	r := l.idleResolver()
	a := mustAddr("10.20.0.1")
	r.setWatching(true) // nobody reads events, as when they are lost
	_, err := r.Resolve([]netip.Addr{a})
	must(t, err)
	l.route("10.20.0.0/16", "10.7.0.2", "")
	_, err = r.Resolve([]netip.Addr{a})
	must(t, err)
	if got := r.Reason(a); got != "no route" {
		t.Fatalf("reason %q, want what was known before", got)
	}
	r.lost()
	_, err = r.Resolve([]netip.Addr{a})
	must(t, err)
	if got := r.Reason(a); got == "no route" {
		t.Error("the new route was not read")
	}
}

func TestOverrunIsAnnounced(t *testing.T) {
	t.Parallel()
	l, _ := pair(t)
	r := l.idleResolver()
	a := mustAddr("10.7.0.2")
	_, err := r.Resolve([]netip.Addr{a})
	must(t, err)
	must(t, r.kernel.events.SetReceiveBufferSize(4096, true))
	for i := range 200 { // more than 4 KiB of events before anyone reads
		n := l.neigh("up0", netip.AddrFrom4([4]byte{10, 7, 0, byte(i) + 10}).String())
		n.HardwareAddr, n.State = net.HardwareAddr{2, 0, 0, 0, 0, 1}, unix.NUD_PERMANENT
		must(t, l.nl.NeighSet(n))
	}
	changed := make(chan struct{}, 1)
	ended := make(chan error, 1)
	r.loaded = true
	go func() { ended <- r.read(changed) }()
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatal("no change announced")
	}
	r.kernel.events.Close()
	if err := <-ended; err == nil {
		t.Error("read ended without an error though its socket was closed")
	}
	if r.loaded {
		t.Error("what was read before the overrun still counts as known")
	}
}
