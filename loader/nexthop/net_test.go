package nexthop

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"weir/loader/lb"
)

// host is a network namespace without a name; it goes when the test ends.
type host struct {
	t  testing.TB
	ns netns.NsHandle
	nl *netlink.Handle
}

func newHost(t testing.TB) *host {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	must(t, err)
	defer home.Close()
	ns, err := netns.New()
	must(t, err)
	must(t, netns.Set(home))
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	must(t, err)
	t.Cleanup(func() { h.Close(); ns.Close() })
	return &host{t: t, ns: ns, nl: h}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// resolver starts one inside the host.
func (h *host) resolver() *Resolver {
	h.t.Helper()
	r := h.idleResolver()
	h.run(r)
	return r
}

func (h *host) run(r *Resolver) {
	h.t.Helper()
	ctx, stop := context.WithCancel(h.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	h.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			h.t.Errorf("Run: %v", err)
		}
	})
}

// idleResolver has no Run.
func (h *host) idleResolver() *Resolver {
	h.t.Helper()
	var r *Resolver
	h.do(func() (err error) {
		r, err = New(slog.New(slog.NewTextHandler(io.Discard, nil)))
		return err
	})
	h.t.Cleanup(r.Close)
	return r
}

// do runs f on a thread that is inside the host.
func (h *host) do(f func() error) {
	h.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	must(h.t, err)
	defer home.Close()
	must(h.t, netns.Set(h.ns))
	err = f()
	must(h.t, netns.Set(home))
	must(h.t, err)
}

// hasten makes the kernel check stale neighbours on a link in 2 s, not 8.
func (h *host) hasten(name string) {
	h.t.Helper()
	for _, family := range []string{"ipv4", "ipv6"} {
		dir := "/proc/sys/net/" + family + "/neigh/" + name
		h.do(func() error {
			return errors.Join(
				os.WriteFile(dir+"/delay_first_probe_time", []byte("1"), 0),
				os.WriteFile(dir+"/retrans_time_ms", []byte("100"), 0),
			)
		})
	}
}

// wire joins two hosts by a veth pair whose ends are up.
func wire(a, b *host, nameA, nameB string) {
	a.t.Helper()
	must(a.t, a.nl.LinkAdd(&netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: nameA},
		PeerName:      nameB,
		PeerNamespace: netlink.NsFd(b.ns),
	}))
	a.up(nameA)
	b.up(nameB)
}

func (h *host) link(name string) netlink.Link {
	h.t.Helper()
	l, err := h.nl.LinkByName(name)
	must(h.t, err)
	return l
}

func (h *host) up(name string)   { h.t.Helper(); must(h.t, h.nl.LinkSetUp(h.link(name))) }
func (h *host) down(name string) { h.t.Helper(); must(h.t, h.nl.LinkSetDown(h.link(name))) }

// withoutIPv6 keeps IPv6's own events away.
func (h *host) withoutIPv6() {
	h.t.Helper()
	h.do(func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/all/disable_ipv6", []byte("1"), 0) })
}

// silence removes the link's IPv4 addresses, so that it answers nobody.
func (h *host) silence(name string) {
	h.t.Helper()
	addrs, err := h.nl.AddrList(h.link(name), netlink.FAMILY_V4)
	must(h.t, err)
	for i := range addrs {
		must(h.t, h.nl.AddrDel(h.link(name), &addrs[i]))
	}
}

func (h *host) mac(name string) [6]byte {
	h.t.Helper()
	return [6]byte(h.link(name).Attrs().HardwareAddr)
}

func (h *host) setMAC(name string, mac string) {
	h.t.Helper()
	hw, err := net.ParseMAC(mac)
	must(h.t, err)
	must(h.t, h.nl.LinkSetHardwareAddr(h.link(name), hw))
}

func (h *host) addr(name, cidr string) {
	h.t.Helper()
	a, err := netlink.ParseAddr(cidr)
	must(h.t, err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	must(h.t, h.nl.AddrAdd(h.link(name), a))
}

// route adds a route through a gateway, or of a type that leads nowhere.
func (h *host) route(cidr, gateway, dev string, edit ...func(*netlink.Route)) {
	h.t.Helper()
	dst, err := netlink.ParseIPNet(cidr)
	must(h.t, err)
	r := &netlink.Route{Dst: dst, Gw: net.ParseIP(gateway)}
	if dev != "" {
		r.LinkIndex = h.link(dev).Attrs().Index
	}
	for _, f := range edit {
		f(r)
	}
	must(h.t, h.nl.RouteReplace(r))
}

func (h *host) neigh(name, addr string) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: h.link(name).Attrs().Index, IP: net.ParseIP(addr)}
}

// await resolves the addresses again at each announced change until the first
// of them is as wanted.
func await(t testing.TB, r *Resolver, what string, want func(lb.NextHop) bool, addrs ...netip.Addr) lb.NextHop {
	t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		hops, err := r.Resolve(addrs)
		must(t, err)
		if want(hops[addrs[0]]) {
			return hops[addrs[0]]
		}
		select {
		case <-r.Changes():
		case <-deadline:
			t.Fatalf("%s: not in time, now %+v, reason %q", what, hops[addrs[0]], r.Reason(addrs[0]))
		}
	}
}

// announced waits for what a change does to be announced.
func announced(t *testing.T, r *Resolver, what string, change func()) {
	t.Helper()
	select {
	case <-r.Changes():
	default:
	}
	change()
	select {
	case <-r.Changes():
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: not announced", what)
	}
}

func resolved(h lb.NextHop) bool   { return h.Resolved() }
func unresolved(h lb.NextHop) bool { return !h.Resolved() }
func toMAC(mac [6]byte) func(lb.NextHop) bool {
	return func(h lb.NextHop) bool { return h.DstMAC == mac }
}
