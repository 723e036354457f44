package dataplane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/config"
	"weir/loader/control"
	"weir/loader/lb"
	"weir/loader/netlab"
	"weir/loader/nexthop"
	"weir/loader/weight"
)

// shape is a large configuration: pools of equal size, each used by some
// services of its own.
type shape struct{ pools, backends, services int }

func (s shape) String() string {
	return fmt.Sprintf("%d services, %d pools of %d backends", s.pools*s.services, s.pools, s.backends)
}

// text is the configuration file.
func (s shape) text(pinDir, stateDir string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [%s]\npin_dir: %s\nstate_dir: %s\npools:\n", netlab.NIC, pinDir, stateDir)
	for p := range s.pools {
		fmt.Fprintf(&b, "  - name: pool-%d\n    backends:\n", p)
		for i := range s.backends {
			fmt.Fprintf(&b, "      - {address: \"%s:8080\", weight: %d}\n", nth("10.64.0.0", p*s.backends+i), 1+i%3)
		}
	}
	b.WriteString("services:\n")
	for i := range s.pools * s.services {
		fmt.Fprintf(&b, "  - {name: service-%d, vip: \"%s:80/tcp\", forward: nat, pool: pool-%d}\n", i, nth("198.18.0.0", i), i%s.pools)
	}
	return []byte(b.String())
}

// nth is an IPv4 address n after the first.
func nth(first string, n int) netip.Addr {
	a := netip.MustParseAddr(first).As4()
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(a[:])+uint32(n))
	return netip.AddrFrom4(a)
}

// node is a whole loader but for its API, in a namespace of its own whose
// backends are behind one gateway.
type node struct {
	t       testing.TB
	ns      *netlab.NS
	config  lb.Config
	data    *DataPlane
	control *control.Controller
	stop    func() // ends the loader; the kernel side stays
	close   func() // removes everything
	// From the file to the configuration in force.
	parse, open, first time.Duration
}

var gateway = net.HardwareAddr{2, 'w', 'e', 'i', 'r', 2}

func newNode(t testing.TB, s shape) *node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("namespaces and programs in the kernel need root")
	}
	name := fmt.Sprintf("weir-scale-%d", s.pools)
	pinDir := "/sys/fs/bpf/" + name
	n := &node{t: t, stop: func() {}}
	n.close = sync.OnceFunc(func() {
		n.stop()
		_, unpinned := Unload(pinDir, true)
		_, removed := netlab.Cleanup(name)
		if err := errors.Join(unpinned, removed); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	t.Cleanup(n.close)
	n.ns = newNamespace(t, name)
	text := s.text(pinDir, t.TempDir())
	began := time.Now()
	var err error
	if n.config, err = config.Parse("weir.yaml", text); err != nil {
		t.Fatal(err)
	}
	n.parse = time.Since(began)
	n.start()
	return n
}

// newNamespace has a network card, and a route to the backends.
func newNamespace(t testing.TB, name string) *netlab.NS {
	t.Helper()
	if _, err := netlab.Cleanup(name); err != nil { // what a killed run left
		t.Fatal(err)
	}
	ns, err := netlab.CreateNS(name + "-lb")
	if err != nil {
		t.Fatal(err)
	}
	peer, err := netlab.CreateNS(name + "-gateway")
	if err != nil {
		t.Fatal(err)
	}
	via := netip.MustParseAddr("10.7.0.2")
	err = errors.Join(
		netlab.Veth(netlab.End{NS: ns, Name: netlab.NIC}, netlab.End{NS: peer, Name: netlab.NIC, MAC: gateway}),
		ns.AddAddr(netlab.NIC, netip.PrefixFrom(via.Prev(), 24)),
		ns.AddRoute(netip.MustParsePrefix("10.64.0.0/10"), via),
		ns.Do(func() error {
			link, err := netlink.LinkByName(netlab.NIC)
			if err != nil {
				return err
			}
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: via.AsSlice(), HardwareAddr: gateway, State: netlink.NUD_PERMANENT})
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// start opens the kernel side and returns when the configuration is in force.
func (n *node) start() {
	n.t.Helper()
	began := time.Now()
	var hops *nexthop.Resolver
	err := n.ns.Do(func() (err error) {
		if n.data, err = Open(Options{Config: n.config}); err != nil {
			return err
		}
		hops, err = nexthop.New(slog.New(slog.DiscardHandler))
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.open = time.Since(began)
	began = time.Now()
	inForce := make(chan struct{})
	n.control = control.New(control.Options{Config: n.config, DataPlane: n.data, Hops: hops, Log: slog.New(notice{inForce})})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- hops.Run(ctx) }()
	go func() { ended <- n.control.Run(ctx) }()
	n.stop = func() {
		cancel()
		err := errors.Join(<-ended, <-ended, n.data.Close())
		hops.Close()
		if err != nil {
			n.t.Error(err)
		}
		n.stop = func() {}
	}
	select {
	case <-inForce:
		n.first = time.Since(began)
	case err := <-ended:
		ended <- err
		n.t.Fatal("ended before the configuration was in force:", err)
	}
}

// notice closes its channel when the controller says that its configuration is
// in force.
type notice struct{ inForce chan struct{} }

func (n notice) Enabled(context.Context, slog.Level) bool { return true }
func (n notice) WithAttrs([]slog.Attr) slog.Handler       { return n }
func (n notice) WithGroup(string) slog.Handler            { return n }
func (n notice) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "configuration in force" {
		close(n.inForce)
	}
	return nil
}

// change sets the weight of the i-th backend and returns how long it took until
// the data plane held it.
func (n *node) change(i int, w lb.Weight) time.Duration {
	n.t.Helper()
	p := n.config.Pools[i*37%len(n.config.Pools)]
	ref := control.Ref{Pool: p.Name, Endpoint: p.Backends[i%len(p.Backends)].Endpoint()}
	began := time.Now()
	if err := n.control.Override(context.Background(), ref, weight.Override{Weight: w}); err != nil {
		n.t.Fatal(err)
	}
	return time.Since(began)
}

// mapBytes is the memory of the maps, as the kernel counts it.
func (n *node) mapBytes() (sum uint64) {
	for _, m := range n.data.Info().Maps {
		sum += m.Bytes
	}
	return sum
}

// resident is this process's memory: at most, now, and how much of that is
// maps.
func resident(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		for _, key := range []string{"VmHWM:", "VmRSS:", "RssFile:"} {
			if rest, ok := strings.CutPrefix(line, key); ok {
				out = append(out, key+strings.Join(strings.Fields(rest), " "))
			}
		}
	}
	return strings.Join(out, ", ")
}

func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// TestScale applies a large configuration, changes weights, and restarts; the
// maps hold to the last entry what control wants, whatever it left out. With
// WEIR_LONG=1 it is 10,000 services and 100,000 backends, and as many pairs of
// both as there can be.
func TestScale(t *testing.T) {
	shapes := []shape{{pools: 500, backends: 10, services: 1}, {pools: 5, backends: 200, services: 5}}
	if os.Getenv("WEIR_LONG") == "1" {
		shapes = []shape{{pools: 10_000, backends: 10, services: 1}, {pools: 52, backends: 1000, services: 5}}
	}
	for _, s := range shapes {
		t.Run(fmt.Sprintf("%dx%d", s.pools*s.services, s.backends), func(t *testing.T) { testScale(t, s) })
	}
}

func testScale(t *testing.T, s shape) {
	cpu := cpuTime(t)
	n := newNode(t, s)
	t.Logf("%s: parsed %v + opened %v + first apply %v = %v, %v of CPU", s,
		n.parse.Round(time.Millisecond), n.open.Round(time.Millisecond), n.first.Round(time.Millisecond),
		(n.parse + n.open + n.first).Round(time.Millisecond), (cpuTime(t) - cpu).Round(time.Millisecond))
	t.Logf("resident %s; maps %d MiB", resident(t), n.mapBytes()>>20)
	state := n.control.Snapshot().State
	if len(state.Services) != s.pools*s.services || len(state.Tables) != s.pools {
		t.Errorf("%d services and %d tables", len(state.Services), len(state.Tables))
	}
	checkHolds(t, n.data, state)

	cpu = cpuTime(t)
	var took []time.Duration
	for i := range 20 {
		took = append(took, n.change(i, lb.Weight(5+i)))
	}
	cpu = cpuTime(t) - cpu
	slices.Sort(took)
	t.Logf("one weight change: median %v, worst %v, %v of CPU", took[10].Round(10*time.Microsecond), took[19].Round(10*time.Microsecond), (cpu / 20).Round(10*time.Microsecond))
	checkHolds(t, n.data, n.control.Snapshot().State)

	state = n.control.Snapshot().State
	n.stop()
	n.start()
	t.Logf("restart: opened %v + first apply %v; resident %s", n.open.Round(time.Millisecond), n.first.Round(time.Millisecond), resident(t))
	if retired := len(n.data.registry.retired); retired > 0 {
		t.Errorf("%d backends were replaced by a restart", retired)
	}
	checkHolds(t, n.data, n.control.Snapshot().State)
	runtime.KeepAlive(state)
}
