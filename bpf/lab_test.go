package bpf_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"weir/loader/dataplane"
	"weir/loader/lb"
	"weir/loader/netlab"
)

// lab is a data plane without interfaces and a namespace with routes to
// clients, in which the program runs packet by packet.
type lab struct {
	*dataplane.DataPlane
	options dataplane.Options
	ns      *netlab.NS
	config  lb.Config
	ifindex map[string]int
	flows   *ebpf.Memory
	pairs   *ebpf.Memory   // snat's flows
	answers *ebpf.Map      // the budget of ICMP errors
	erase   []*ebpf.Memory // flows, active, cursors, pairs, fragments
	tags    bool           // there are the interfaces of vlans
	mss     uint16         // of services
}

const labName = "weir-bpf-test"

// uplinks are the interfaces of the balancer. Their peers only keep them up.
var uplinks = []struct {
	name string
	mac  mac
	addr []string
}{
	{"in0", balancerMAC, []string{"10.9.0.2/24", "2001:db8:9::2/64"}},
	{"out0", outMAC, []string{"10.8.0.2/24", "2001:db8:8::2/64"}},
	{"off0", mac{2, 0xaa, 0, 0, 0, 3}, []string{"10.7.0.2/24", "2001:db8:7::2/64"}}, // does not forward
}

// routes lead to clients. IPv4 prefixes have a twin in IPv6: the same number
// as the third group.
var routes = []struct {
	dst, via string
	mtu      int
	kind     int
}{
	{dst: "198.51.100.0/24", via: "10.9.0.1"},
	{dst: "203.0.113.0/24", via: "10.8.0.1"},
	{dst: "198.51.101.0/24", via: "10.9.0.66"}, // no neighbour
	{dst: "198.51.102.0/24", via: "10.9.0.1", mtu: 576},
	{dst: "198.51.103.0/24", kind: rtnBlackhole},
	{dst: "2001:db8:100::/48", via: "2001:db8:9::1"},
	{dst: "2001:db8:113::/48", via: "2001:db8:8::1"},
	{dst: "2001:db8:101::/48", via: "2001:db8:9::66"},
	{dst: "2001:db8:102::/48", via: "2001:db8:9::1", mtu: 1280},
	{dst: "2001:db8:103::/48", kind: rtnBlackhole},
}

const rtnBlackhole = 6 // RTN_BLACKHOLE

var neighbours = []struct {
	addr, dev string
	mac       mac
}{
	{"10.9.0.1", "in0", gatewayMAC},
	{"10.8.0.1", "out0", farMAC},
	{"2001:db8:9::1", "in0", gatewayMAC},
	{"2001:db8:8::1", "out0", farMAC},
}

// newLab makes a lab; it is gone when the test ends.
func newLab(t testing.TB) *lab {
	t.Helper()
	return newLabWith(t, defaults())
}

func defaults() lb.Config {
	return lb.Config{
		Seed:     42,
		Tunnel:   tunnel,
		SNAT:     sources,
		Limits:   lb.Limits{Services: 32, Backends: 256, Flows: 4096, TableEntries: 1 << 18},
		Timeouts: lb.Timeouts{Embryonic: 30 * time.Second, Established: 15 * time.Minute, Closing: time.Minute, UDP: time.Minute},
	}
}

// newLabWith takes all but the pin directory from a configuration.
func newLabWith(t testing.TB, c lb.Config) *lab {
	t.Helper()
	return newLabOf(t, dataplane.Options{Config: c})
}

func newLabOf(t testing.TB, o dataplane.Options) *lab {
	t.Helper()
	name := fmt.Sprintf("%s-%d-%d", labName, os.Getpid(), labs.next())
	o.Config.PinDir = filepath.Join("/sys/fs/bpf", name)
	l := &lab{config: o.Config, options: o, ifindex: map[string]int{}}
	var err error
	if l.ns, err = netlab.CreateNS(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	l.links(t)
	if err := l.ns.Do(l.routes); err != nil {
		t.Fatal(err)
	}
	l.open(t)
	return l
}

// counter makes the names of labs unique in this process.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) next() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n
}

var labs counter

func (l *lab) links(t testing.TB) {
	t.Helper()
	err := l.ns.Set(netlab.Sysctls{
		"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1",
		"ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0",
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, u := range uplinks {
		a := netlab.End{NS: l.ns, Name: u.name, MAC: u.mac[:]}
		b := netlab.End{NS: l.ns, Name: u.name + "-peer", MAC: net.HardwareAddr{2, 0xdd, 0, 0, 0, byte(i)}}
		if err := netlab.Veth(a, b); err != nil {
			t.Fatal(err)
		}
		for _, addr := range u.addr {
			if err := l.ns.AddAddr(u.name, netip.MustParsePrefix(addr)); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = l.ns.Set(netlab.Sysctls{"ipv4/conf/off0/forwarding": "0", "ipv6/conf/off0/forwarding": "0"})
	if err != nil {
		t.Fatal(err)
	}
}

func (l *lab) routes() error {
	for _, u := range uplinks {
		link, err := netlink.LinkByName(u.name)
		if err != nil {
			return err
		}
		l.ifindex[u.name] = link.Attrs().Index
	}
	for _, n := range neighbours {
		err := netlink.NeighAdd(&netlink.Neigh{
			LinkIndex: l.ifindex[n.dev], State: netlink.NUD_PERMANENT,
			IP: net.ParseIP(n.addr), HardwareAddr: n.mac[:],
		})
		if err != nil {
			return fmt.Errorf("neighbour %s: %w", n.addr, err)
		}
	}
	for _, r := range routes {
		_, dst, err := net.ParseCIDR(r.dst)
		if err != nil {
			return err
		}
		err = netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(r.via), MTU: r.mtu, MTULock: r.mtu > 0, Type: r.kind})
		if err != nil {
			return fmt.Errorf("route %s: %w", r.dst, err)
		}
	}
	return nil
}

func (l *lab) open(t testing.TB) {
	t.Helper()
	d, err := dataplane.Open(l.options)
	if err != nil {
		t.Fatal(err)
	}
	l.DataPlane = d
	t.Cleanup(func() {
		_, err := dataplane.Unload(l.config.PinDir, true)
		if err := errors.Join(err, d.Close()); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"flows", "active", "cursors", "snat_flows", "fragments"} {
		m, err := ebpf.LoadPinnedMap(filepath.Join(l.config.PinDir, "maps", name), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		mem, err := m.Memory()
		if err != nil {
			t.Fatal(err)
		}
		l.erase = append(l.erase, mem)
	}
	l.answers, err = ebpf.LoadPinnedMap(filepath.Join(l.config.PinDir, "maps", "answers"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.answers.Close() })
	l.flows, l.pairs = l.erase[0], l.erase[3]
}

// load forgets all flows and makes the data plane hold these services.
func (l *lab) load(t testing.TB, services ...service) {
	t.Helper()
	l.forget(t)
	if err := l.Apply(l.state(services)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Sweep(); err != nil {
		t.Fatal(err)
	}
}

// forget empties the flow table and restarts round robin.
func (l *lab) forget(t testing.TB) {
	t.Helper()
	for _, mem := range l.erase {
		if _, err := mem.WriteAt(make([]byte, mem.Size()), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// nextAnswers lets every CPU send as many ICMP errors as in a new window.
func (l *lab) nextAnswers() error {
	type budget struct{ Window, Used uint64 }
	return l.answers.Put(uint32(0), make([]budget, ebpf.MustPossibleCPU()))
}

// age makes all flows look this much older.
func (l *lab) age(t testing.TB, by time.Duration) {
	t.Helper()
	for _, flows := range []*ebpf.Memory{l.flows, l.pairs} {
		if err := ageTable(flows, by, 1<<11-1); err != nil {
			t.Fatal(err)
		}
	}
	if err := ageTable(l.erase[4], by, 1<<8-1); err != nil {
		t.Fatal(err)
	}
}

// ageTable: mask is the time in a word.
func ageTable(flows *ebpf.Memory, by time.Duration, mask uint64) error {
	const shift = 3
	units := uint64(by >> 32)
	table := make([]byte, flows.Size())
	if _, err := flows.ReadAt(table, 0); err != nil {
		return err
	}
	for i := 0; i < len(table); i += 8 {
		if word := binary.NativeEndian.Uint64(table[i:]); word != 0 {
			old := (word>>shift - units) & mask
			binary.NativeEndian.PutUint64(table[i:], word&^(mask<<shift)|old<<shift)
		}
	}
	_, err := flows.WriteAt(table, 0)
	return err
}

// service is a VIP as cases describe it. Without a table each backend is in it
// once.
type service struct {
	vip      lb.VIP
	forward  lb.Forward
	algo     lb.Algorithm // round robin if none
	backends []netip.AddrPort
	table    []uint32
}

func (l *lab) state(services []service) lb.State {
	var out lb.State
	if l.tags {
		out.VLANs = l.vlans()
	}
	for i, s := range services {
		table := lb.Table{Algorithm: lb.RoundRobin, Slots: s.table}
		if s.algo != 0 {
			table.Algorithm = s.algo
		}
		state := lb.ServiceState{Table: i, Service: lb.Service{
			Name: fmt.Sprint("service-", i), VIP: s.vip, Forward: s.forward, Pool: "pool", MSS: l.mss,
		}}
		for slot, b := range s.backends {
			state.Backends = append(state.Backends, lb.BackendState{Endpoint: b, Effective: lb.EffectiveUnit, Hop: l.hop(b.Addr())})
			if s.table == nil {
				table.Slots = append(table.Slots, uint32(slot))
			}
		}
		out.Services = append(out.Services, state)
		out.Tables = append(out.Tables, table)
	}
	return out
}

// hop decides where a backend is by the last byte of its address: from 200 on
// it is behind the other interface, and nobody knows where 255 is. 100 and 101
// are behind those that tag, if there are.
func (l *lab) hop(a netip.Addr) lb.NextHop {
	h := lb.NextHop{IfIndex: l.ifindex["in0"], SrcMAC: balancerMAC, DstMAC: macOf(a), MTU: 1500}
	switch last := h.DstMAC[5]; {
	case last == 255:
		return lb.NextHop{}
	case l.tags && last == 100:
		h.IfIndex = vlanIndex
	case l.tags && last == 101:
		h.IfIndex = vlanIndex + 1
	case last >= 200:
		h.IfIndex, h.SrcMAC = l.ifindex["out0"], outMAC
	}
	return h
}

// vlanIndex is the first of the interfaces that vlans makes up: the program
// knows them by the map only.
const vlanIndex = 4000

// vlans are interfaces that tag: one by in0, one by out0 with two tags, and out0
// itself, as if what is routed to it had to leave by in0.
func (l *lab) vlans() []lb.VLAN {
	return []lb.VLAN{
		{IfIndex: vlanIndex, Below: l.ifindex["in0"], Tags: [lb.MaxTags]lb.Tag{{Kind: 0x8100, ID: 7}}},
		{IfIndex: vlanIndex + 1, Below: l.ifindex["out0"], Tags: [lb.MaxTags]lb.Tag{{Kind: 0x88a8, ID: 4094}, {Kind: 0x8100, ID: 1}}},
		{IfIndex: l.ifindex["out0"], Below: l.ifindex["in0"], Tags: [lb.MaxTags]lb.Tag{{Kind: 0x88a8, ID: 300}}},
	}
}

func macOf(a netip.Addr) mac {
	b := a.As16()
	return mac{2, 0xbb, 0, 0, b[14], b[15]}
}

// context is struct xdp_md (linux/bpf.h).
type context struct {
	Data, DataEnd, DataMeta, Ingress, RxQueue, Egress uint32
}

// run runs the program once on a frame that came in on an interface.
func (l *lab) run(iface string, in []byte) (verdict, []byte, error) {
	// Room for more than the frame: a program that makes it longer is seen.
	opts := ebpf.RunOptions{
		Data: slices.Clone(in), DataOut: make([]byte, len(in)+512),
		Context: context{DataEnd: uint32(len(in)), Ingress: uint32(l.ifindex[iface])},
	}
	v, err := l.Program().Run(&opts)
	return verdict(v), opts.DataOut, err
}

type verdict uint32

// enum xdp_action of linux/bpf.h.
const (
	aborted verdict = iota
	drop
	pass
	tx
	redirect
)

func (v verdict) String() string {
	return [...]string{"ABORTED", "DROP", "PASS", "TX", "REDIRECT"}[v]
}
