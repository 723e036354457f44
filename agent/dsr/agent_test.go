package dsr

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"weir/loader/netlab"
)

func TestSetsUpAndTakesBack(t *testing.T) {
	l := newLab(t)
	before := l.snapshot(t)
	a := l.start(t)
	if got := l.onLoopback(t); !slices.Equal(got, []netip.Addr{vip4, vip6}) {
		t.Errorf("on lo: %v", got)
	}
	for path, want := range map[string]string{
		"ipv4/conf/all/arp_ignore": "1", "ipv4/conf/eth0/arp_ignore": "1",
		"ipv4/conf/all/arp_announce": "2", "ipv4/conf/eth0/arp_announce": "2",
		"ipv4/conf/eth1/arp_ignore": "0", "ipv4/conf/eth0/rp_filter": "0",
	} {
		if got := l.sysctl(t, path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if got := a.Attachments(); !slices.Equal(got, []Attachment{{"eth0", "native"}}) {
		t.Errorf("attached: %v", got)
	}
	if err := l.close(a); err != nil {
		t.Fatal(err)
	}
	l.unchanged(t, before)
	if err := l.close(a); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestNoTunnelAttachesNothing(t *testing.T) {
	l := newLab(t)
	l.opts.NoTunnel, l.opts.GUEPort = true, 0
	before := l.snapshot(t)
	a := l.start(t)
	if len(a.Attachments()) > 0 || !slices.Equal(l.onLoopback(t), []netip.Addr{vip4, vip6}) {
		t.Errorf("attached: %v; on lo: %v", a.Attachments(), l.onLoopback(t))
	}
	if c, err := a.Counters(); c != nil || err != nil {
		t.Errorf("counters: %v, %v", c, err)
	}
	l.must(t, l.close(a))
	l.unchanged(t, before)
}

func TestIPv6AloneLeavesARP(t *testing.T) {
	l := newLab(t)
	l.opts.VIPs = []netip.Addr{vip6, vip6}
	l.start(t)
	if got := l.sysctl(t, "ipv4/conf/all/arp_ignore"); got != "0" {
		t.Errorf("arp_ignore is %s", got)
	}
}

// A VIP and settings that were there before are there afterwards.
func TestKeepsWhatWasThere(t *testing.T) {
	l := newLab(t)
	l.must(t, l.AddAddr("lo", netip.PrefixFrom(vip4, 32)))
	l.must(t, l.Set(netlab.Sysctls{"ipv4/conf/all/arp_ignore": "2", "ipv4/conf/eth0/arp_ignore": "3", "ipv4/conf/all/arp_announce": "2"}))
	before := l.snapshot(t)
	a := l.start(t)
	if all, own := l.sysctl(t, "ipv4/conf/all/arp_ignore"), l.sysctl(t, "ipv4/conf/eth0/arp_ignore"); all != "2" || own != "1" {
		t.Errorf("arp_ignore is %s and %s; 2 serves, 3 does not", all, own)
	}
	l.must(t, l.close(a))
	l.unchanged(t, before)
}

// What somebody changes meanwhile stays.
func TestKeepsWhatOthersSet(t *testing.T) {
	l := newLab(t)
	a := l.start(t)
	l.must(t, l.Set(netlab.Sysctls{"ipv4/conf/eth0/arp_ignore": "8"}))
	l.must(t, l.Do(func() error {
		h, err := openHost()
		if err != nil {
			return err
		}
		defer h.close()
		return h.removeVIP(vip4)
	}))
	l.must(t, l.close(a))
	if got := l.sysctl(t, "ipv4/conf/eth0/arp_ignore"); got != "8" {
		t.Errorf("arp_ignore is %s, want 8", got)
	}
}

func TestReversePathFilter(t *testing.T) {
	for name, c := range map[string]struct {
		all, own, via, want string
	}{
		"answers leave by another interface":   {"1", "0", "10.0.1.1", "2"},
		"its own setting":                      {"0", "1", "10.0.1.1", "2"},
		"answers leave where requests come in": {"1", "0", "10.0.0.1", "0"},
		"loose already":                        {"1", "2", "10.0.1.1", "2"},
		"off":                                  {"0", "0", "10.0.1.1", "0"},
		"no default route":                     {"1", "1", "", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.must(t, l.Set(netlab.Sysctls{"ipv4/conf/all/rp_filter": c.all, "ipv4/conf/eth0/rp_filter": c.own}))
			if c.via != "" {
				l.must(t, l.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr(c.via)))
			}
			before := l.snapshot(t)
			a := l.start(t)
			if got := l.sysctl(t, "ipv4/conf/eth0/rp_filter"); got != c.want {
				t.Errorf("rp_filter is %s, want %s", got, c.want)
			}
			l.must(t, l.close(a))
			l.unchanged(t, before)
		})
	}
}

func TestAfterACrash(t *testing.T) {
	t.Run("undo", func(t *testing.T) {
		l := newLab(t)
		before := l.snapshot(t)
		crash(t, l.start(t))
		if undone := l.undo(t); len(undone) != 6 {
			t.Errorf("undone: %q, want 2 VIPs and 4 settings", undone)
		}
		l.unchanged(t, before)
		if undone := l.undo(t); len(undone) != 0 {
			t.Errorf("undone again: %q", undone)
		}
	})
	t.Run("the next start takes over", func(t *testing.T) {
		l := newLab(t)
		before := l.snapshot(t)
		crash(t, l.start(t))
		a := l.start(t)
		if got := l.onLoopback(t); !slices.Equal(got, []netip.Addr{vip4, vip6}) {
			t.Errorf("on lo: %v", got)
		}
		if got := l.sysctl(t, "ipv4/conf/all/arp_ignore") + l.sysctl(t, "ipv4/conf/eth0/arp_announce"); got != "12" {
			t.Errorf("arp_ignore and arp_announce are %s", got)
		}
		l.must(t, l.close(a))
		l.unchanged(t, before)
	})
	t.Run("the next start wants something else", func(t *testing.T) {
		l := newLab(t)
		l.must(t, l.Set(netlab.Sysctls{"ipv4/conf/all/rp_filter": "1"}))
		l.must(t, l.AddRoute(netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.0.1.1")))
		before := l.snapshot(t)
		crash(t, l.start(t))
		l.opts.VIPs, l.opts.Interfaces = []netip.Addr{vip6}, []string{"eth1"}
		a := l.start(t)
		if got := l.onLoopback(t); !slices.Equal(got, []netip.Addr{vip6}) {
			t.Errorf("on lo: %v", got)
		}
		if got := l.sysctl(t, "ipv4/conf/all/arp_ignore") + l.sysctl(t, "ipv4/conf/eth0/rp_filter"); got != "00" {
			t.Errorf("arp_ignore and rp_filter are %s", got)
		}
		l.must(t, l.close(a))
		l.unchanged(t, before)
	})
	t.Run("a start that is refused leaves all for undo", func(t *testing.T) {
		l := newLab(t)
		before := l.snapshot(t)
		crash(t, l.start(t))
		wrong := l.opts
		wrong.Interfaces = []string{"eth9"}
		if _, err := l.try(wrong); err == nil {
			t.Fatal("accepted eth9")
		}
		if got := l.onLoopback(t); !slices.Equal(got, []netip.Addr{vip4, vip6}) {
			t.Errorf("on lo: %v", got)
		}
		l.undo(t)
		l.unchanged(t, before)
	})
}

func TestSecondAgentIsRefused(t *testing.T) {
	l := newLab(t)
	l.start(t)
	_, err := l.try(l.opts)
	if err == nil || !strings.Contains(err.Error(), "already runs here (pid ") {
		t.Errorf("second agent: %v", err)
	}
	if err := l.Do(func() error { _, err := Undo(l.opts.StateDir); return err }); err == nil {
		t.Error("undone under a running agent")
	}
	// Another namespace is another host.
	other := newLab(t)
	other.opts.StateDir = l.opts.StateDir
	a, err := other.try(other.opts)
	l.must(t, err)
	l.must(t, other.close(a))
}

// Refusals are one line, and change nothing.
func TestRefused(t *testing.T) {
	l := newLab(t)
	l.must(t, l.AddAddr("eth1", netip.MustParsePrefix("198.51.100.12/24")))
	l.must(t, l.PassAll("eth1"))
	before := l.snapshot(t)
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no VIP":          {func(o *Options) { o.VIPs = nil }, "--vip"},
		"no interface":    {func(o *Options) { o.Interfaces = nil }, "--interface"},
		"loopback":        {func(o *Options) { o.Interfaces = []string{"lo"} }, "interface lo is where VIPs go"},
		"missing":         {func(o *Options) { o.Interfaces = []string{"eth9"} }, `interface "eth9" does not exist: name one of`},
		"multicast":       {func(o *Options) { o.VIPs = []netip.Addr{netip.MustParseAddr("224.0.0.1")} }, "not a routable unicast address"},
		"VIP elsewhere":   {func(o *Options) { o.VIPs = []netip.Addr{netip.MustParseAddr("198.51.100.12")} }, "VIP 198.51.100.12 is an address of eth1"},
		"foreign program": {func(o *Options) { o.Interfaces = []string{"eth0", "eth1"} }, "interface eth1 already runs another XDP program"},
		"GUE port":        {func(o *Options) { o.GUEPort = 0 }, "GUE port 0"},
	} {
		t.Run(name, func(t *testing.T) {
			o := l.opts
			c.change(&o)
			a, err := l.try(o)
			if err == nil {
				_ = l.close(a)
				t.Fatal("accepted")
			}
			if text := err.Error(); !strings.Contains(text, c.want) || strings.Contains(text, "\n") {
				t.Errorf("%q, want one line with %q", text, c.want)
			}
			l.unchanged(t, before)
		})
	}
}

func TestLoopbackDownIsRefused(t *testing.T) {
	l := newLab(t)
	l.must(t, l.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(lo)
	}))
	if _, err := l.try(l.opts); err == nil || !strings.Contains(err.Error(), "ip link set lo up") {
		t.Errorf("%v", err)
	}
}

func TestIPv6OffIsRefused(t *testing.T) {
	l := newLab(t)
	l.must(t, l.Set(netlab.Sysctls{"ipv6/conf/lo/disable_ipv6": "1"}))
	before := l.snapshot(t)
	if _, err := l.try(l.opts); err == nil || !strings.Contains(err.Error(), "net.ipv6.conf.lo.disable_ipv6=0") {
		t.Errorf("%v", err)
	}
	l.unchanged(t, before)
}

// A bridge's driver has no native XDP.
func TestGenericWhereTheDriverCannot(t *testing.T) {
	l := newLab(t)
	l.must(t, l.Bridge("br0", []byte{2, 0, 0, 0, 2, 0}))
	l.opts.Interfaces = []string{"br0", "eth0"}
	before := l.snapshot(t)
	a := l.start(t)
	if got := a.Attachments(); !slices.Equal(got, []Attachment{{"br0", "generic"}, {"eth0", "native"}}) {
		t.Errorf("attached: %v", got)
	}
	l.must(t, l.close(a))
	l.unchanged(t, before)
}

func TestBrokenStateIsNotGuessedAt(t *testing.T) {
	l := newLab(t)
	a := l.start(t)
	path := a.store.path
	crash(t, a)
	l.must(t, os.WriteFile(path, []byte("{"), 0o644))
	if _, err := l.try(l.opts); err == nil || !strings.Contains(err.Error(), filepath.Base(path)) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the state: %v", err)
	}
}

// Tunnels to an address that the host gets later are unpacked, those to one
// that it loses are not.
func TestFollowsAddresses(t *testing.T) {
	l := newLab(t)
	a := l.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	late := netip.MustParsePrefix("10.0.0.77/24")
	fixed := []string{"10.0.0.11", "10.0.1.11", "fd00:0::11", "fd00:1::11"}
	awaitTunnels(t, a, fixed...)
	l.must(t, l.AddAddr("eth1", late))
	awaitTunnels(t, a, append(fixed, "10.0.0.77")...)
	l.must(t, l.Do(func() error {
		link, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(late.String())
		if err != nil {
			return err
		}
		return netlink.AddrDel(link, addr)
	}))
	awaitTunnels(t, a, fixed...)
	cancel()
	l.must(t, <-ended)
}

func awaitTunnels(t *testing.T, a *Agent, want ...string) {
	t.Helper()
	slices.SortFunc(want, func(x, y string) int { return netip.MustParseAddr(x).Compare(netip.MustParseAddr(y)) })
	var got []netip.Addr
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		got = nil
		var key [16]byte
		var value uint8
		for it := a.program.TunnelAddresses.Iterate(); it.Next(&key, &value); {
			got = append(got, netip.AddrFrom16(key).Unmap())
		}
		slices.SortFunc(got, netip.Addr.Compare)
		if slices.EqualFunc(got, want, func(g netip.Addr, w string) bool { return g == netip.MustParseAddr(w) }) {
			return
		}
	}
	t.Fatalf("unpacks what is to %v, want %v", got, want)
}

func TestCountersHaveNames(t *testing.T) {
	l := newLab(t)
	a := l.start(t)
	all, err := a.Counters()
	l.must(t, err)
	if len(all) != 12 || all[0].Verdict != "decap" || all[0].Reason != "ipip" || !slices.ContainsFunc(all, func(c Counter) bool {
		return c.Verdict == "drop" && c.Reason == "ecn"
	}) {
		t.Errorf("counters: %+v", all)
	}
	for _, c := range all {
		if c.Reason == "" {
			t.Errorf("a counter without a name: %+v", all)
		}
	}
}
