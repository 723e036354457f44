package doctor

import (
	"context"
	"io/fs"
	"net/netip"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

// node is a host, its configuration and its daemon. Rows of tests break one
// thing of a healthy one.
type node struct {
	subject Subject
	config  *lb.Config
	daemon  *Daemon
	*fakeHost
}

// fakeHost answers what its fields say.
type fakeHost struct {
	kernel  Kernel
	cpus    int
	links   map[string]*Link
	addrs   map[netip.Addr]string
	hops    map[netip.Addr]Hop
	pins    Pins
	bpffs   map[string]bool
	sysctl  map[string]string
	network bool
	owners  map[netip.Addr][]MAC
}

func (f *fakeHost) Kernel() Kernel                            { return f.kernel }
func (f *fakeHost) CPUs() (int, error)                        { return f.cpus, nil }
func (f *fakeHost) Addresses() (map[netip.Addr]string, error) { return f.addrs, nil }
func (f *fakeHost) Pins(lb.Config) (Pins, error)              { return f.pins, nil }
func (f *fakeHost) OnBPFFS(dir string) bool                   { return f.bpffs[dir] }
func (f *fakeHost) SameNetwork(int) bool                      { return f.network }

func (f *fakeHost) Link(name string) (Link, error) {
	l, ok := f.links[name]
	if !ok {
		return Link{}, fs.ErrNotExist
	}
	return *l, nil
}

func (f *fakeHost) Hops(context.Context, []netip.Addr) (map[netip.Addr]Hop, error) {
	return f.hops, nil
}

func (f *fakeHost) Sysctl(key string) (string, error) {
	if value, ok := f.sysctl[key]; ok {
		return value, nil
	}
	return "0", nil
}

func (f *fakeHost) Owners(context.Context, Link, []netip.Addr) (map[netip.Addr][]MAC, error) {
	return f.owners, nil
}

var (
	vip      = netip.MustParseAddr("192.0.2.1")
	backend1 = netip.MustParseAddr("10.0.0.11")
	backend2 = netip.MustParseAddr("10.0.0.12")
	ownMAC   = MAC{2, 0, 0, 0, 0, 1}
)

func hopTo(last byte) Hop {
	return Hop{NextHop: lb.NextHop{IfIndex: 7, SrcMAC: ownMAC, DstMAC: [6]byte{2, 0, 0, 0, 0, last}, MTU: 1500}}
}

// healthy is a node with one nat service, at which nothing is wrong.
func healthy() *node {
	c := &lb.Config{
		Interfaces: []string{"eth0"}, PinDir: "/sys/fs/bpf/weir", Socket: "/run/weir.sock",
		Limits: lb.Limits{Services: 10, Backends: 20, Flows: 1000, TableEntries: 1000},
		Pools: []lb.Pool{{Name: "web", Algorithm: lb.RoundRobin, Backends: []lb.Backend{
			{Addr: backend1, Port: 80, Weight: 1}, {Addr: backend2, Port: 80, Weight: 1},
		}}},
		Services: []lb.Service{{Name: "web", VIP: lb.VIP{Addr: vip, Port: 80, Proto: lb.TCP}, Forward: lb.NAT, Pool: "web"}},
	}
	d := &Daemon{
		Status: wire.Status{Version: "test", PID: 1, DataPlane: lb.DataPlaneInfo{
			Attachments: []lb.Attachment{{Interface: "eth0", Mode: "native", LinkID: 3, ProgramID: 33}},
		}},
		Backends: []wire.Backend{
			{Pool: "web", Backend: netip.AddrPortFrom(backend1, 80), State: wire.StateReady, Weight: 1},
			{Pool: "web", Backend: netip.AddrPortFrom(backend2, 80), State: wire.StateReady, Weight: 1},
		},
	}
	h := &fakeHost{
		kernel: Kernel{Release: "6.1.0-18-amd64", BTF: true}, cpus: 4, network: true,
		links: map[string]*Link{"eth0": {
			Name: "eth0", Index: 7, Driver: "mlx5_core", MAC: ownMAC, MTU: 1500, Up: true, Carrier: true, StripsVLAN: true,
			Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")},
			Queues:   Queues{RX: 4, TX: 4, MaxRX: 8, MaxTX: 8, Combined: true},
			XDP:      XDP{Program: 33, Name: "weir", Link: 3, Known: true, Native: true, Transmit: true},
		}},
		addrs:  map[netip.Addr]string{netip.MustParseAddr("10.0.0.1"): "eth0"},
		hops:   map[netip.Addr]Hop{backend1: hopTo(11), backend2: hopTo(12)},
		pins:   Pins{Found: true, Held: true, Links: map[string]Pinned{"eth0": {Interface: 7, Program: 33}}},
		bpffs:  map[string]bool{"/sys/fs/bpf": true},
		sysctl: map[string]string{"net/ipv4/conf/eth0/forwarding": "1", "net/ipv6/conf/eth0/forwarding": "1"},
	}
	return &node{subject: Subject{ConfigFile: "/nowhere/weir.yaml", Socket: "/run/weir.sock"}, config: c, daemon: d, fakeHost: h}
}

// eth0 is the one interface.
func (n *node) eth0() *Link { return n.links["eth0"] }

// stop ends the daemon; what it pinned stays.
func (n *node) stop() { n.daemon, n.pins.Held = nil, false }

// unload removes what is pinned, too.
func (n *node) unload() {
	n.stop()
	n.pins = Pins{}
	n.eth0().XDP = XDP{Known: true, Native: true, Transmit: true}
}

// sendBy changes the forwarding mode.
func (n *node) sendBy(f lb.Forward) { n.config.Services[0].Forward = f }

func (n *node) examine() []Finding {
	s := n.subject
	s.Config, s.Daemon = n.config, n.daemon
	return Examine(context.Background(), s, n)
}
