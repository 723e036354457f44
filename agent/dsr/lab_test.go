package dsr

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"weir/loader/netlab"
)

// lab is a backend host: a namespace with two interfaces whose peers only keep
// them up.
type lab struct {
	*netlab.NS
	opts Options
}

var labs atomic.Int32

var (
	vip4 = netip.MustParseAddr("198.51.100.10")
	vip6 = netip.MustParseAddr("2001:db8:100::10")
)

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	ns, err := netlab.CreateNS(fmt.Sprintf("weir-dsr%d-%d", os.Getpid(), labs.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	l := &lab{ns, Options{VIPs: []netip.Addr{vip4, vip6}, Interfaces: []string{"eth0"}, GUEPort: DefaultGUEPort, StateDir: t.TempDir()}}
	l.must(t, ns.Set(netlab.Sysctls{"ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0"}))
	l.must(t, ns.LoopbackUp())
	for i, name := range []string{"eth0", "eth1"} {
		a := netlab.End{NS: ns, Name: name, MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}}
		b := netlab.End{NS: ns, Name: name + "-peer", MAC: net.HardwareAddr{2, 0, 0, 0, 1, byte(i)}}
		l.must(t, netlab.Veth(a, b))
		l.must(t, ns.AddAddr(name, netip.MustParsePrefix(fmt.Sprintf("10.0.%d.11/24", i))))
		l.must(t, ns.AddAddr(name, netip.MustParsePrefix(fmt.Sprintf("fd00:%d::11/64", i))))
	}
	return l
}

func (l *lab) must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start sets the host up; what the test does not take back, its end does.
func (l *lab) start(t *testing.T) *Agent {
	t.Helper()
	a, err := l.try(l.opts)
	l.must(t, err)
	t.Cleanup(func() { _ = l.close(a) })
	return a
}

func (l *lab) try(o Options) (a *Agent, err error) {
	err = l.Do(func() (err error) { a, err = Start(o); return err })
	return a, err
}

func (l *lab) close(a *Agent) error { return l.Do(a.Close) }

func (l *lab) undo(t *testing.T) (undone []string) {
	t.Helper()
	l.must(t, l.Do(func() (err error) { undone, err = Undo(l.opts.StateDir); return err }))
	return undone
}

// crash is what SIGKILL does: descriptors are closed, and nothing else.
func crash(t *testing.T, a *Agent) {
	t.Helper()
	for _, l := range a.program.links {
		l.Close()
	}
	a.store.lock.Close()
	a.close = func() error { return nil }
}

func (l *lab) snapshot(t *testing.T) string {
	t.Helper()
	all, err := l.Snapshot()
	l.must(t, err)
	return all
}

// unchanged compares the namespace with an earlier snapshot.
func (l *lab) unchanged(t *testing.T, before string) {
	t.Helper()
	for i, now := range strings.Split(l.snapshot(t), "\n") {
		if was := strings.Split(before, "\n"); i >= len(was) || was[i] != now {
			t.Fatalf("the namespace differs: %q", now)
		}
	}
	left, err := os.ReadDir(l.opts.StateDir)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the state directory: %v, %v", left, err)
	}
}

func (l *lab) sysctl(t *testing.T, path string) (value string) {
	t.Helper()
	l.must(t, l.Do(func() (err error) { value, err = readSysctl(path); return err }))
	return value
}

// onLoopback lists the global addresses of lo.
func (l *lab) onLoopback(t *testing.T) (all []netip.Addr) {
	t.Helper()
	l.must(t, l.Do(func() error {
		h, err := openHost()
		if err != nil {
			return err
		}
		defer h.close()
		has, err := h.addresses()
		for _, at := range has {
			if at.iface == h.lo.Attrs().Index && !at.addr.IsLoopback() {
				all = append(all, at.addr)
			}
		}
		return err
	}))
	return all
}
