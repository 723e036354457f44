package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

// broken is what is wrong with a node, and what must be found: findings as
// "severity check where: remedy", the remedy's beginning. Nothing else may be.
type broken struct {
	name   string
	damage func(*node)
	want   []string
}

const noDaemon = "error daemon /run/weir.sock: systemctl start weir"

var nodes = []broken{
	{"healthy", func(*node) {}, nil},

	{"kernel too old", func(n *node) { n.kernel.Release = "5.17.9" }, []string{"error kernel kernel: apt-get install linux-image-amd64"}},
	{"kernel just new enough", func(n *node) { n.kernel.Release = "5.18.0" }, nil},
	{"kernel without a number", func(n *node) { n.kernel.Release = "x" }, []string{"warning kernel kernel: "}},
	{"no BTF", func(n *node) { n.kernel.BTF = false }, []string{"error kernel kernel: apt-get install"}},

	{"no daemon", (*node).stop, []string{noDaemon}},
	{"nothing loaded", (*node).unload, []string{noDaemon}},
	{"daemon elsewhere", func(n *node) { n.daemon, n.subject.Socket = nil, "/run/other" }, []string{"error daemon /run/other: ss -xlp"}},
	{"daemon in another namespace", func(n *node) { n.network = false; n.eth0().Up = false }, []string{"error daemon /run/weir.sock: nsenter --net --target 1 weir --socket /run/weir.sock doctor"}},
	{"data plane refuses", func(n *node) { n.daemon.Status.ApplyError = "full" }, []string{"error daemon data plane: weir tail"}},

	{"no bpf file system", func(n *node) { n.bpffs = nil; n.pins = Pins{} }, []string{"error pins /sys/fs/bpf/weir: mount -t bpf bpf /sys/fs/bpf"}},
	{"pins missing", func(n *node) { n.pins = Pins{} }, []string{"error pins /sys/fs/bpf/weir: systemctl restart weir"}},
	{"pins of another layout", func(n *node) { n.stop(); n.pins.Refusal = errors.New("layout 1") }, []string{
		noDaemon, "error pins /sys/fs/bpf/weir: systemctl stop weir; weir unload --pin-dir /sys/fs/bpf/weir",
	}},
	{"pins that the next start refuses", func(n *node) { n.pins.Refusal = errors.New("limits") }, []string{"warning pins /sys/fs/bpf/weir: systemctl stop weir; weir unload"}},
	{"attachment of a vanished interface", func(n *node) { n.pins.Links["eth0"] = Pinned{Program: 33} }, []string{"error pins eth0: systemctl restart weir"}},
	{"attachment on another interface", func(n *node) { n.pins.Links["eth1"] = Pinned{Interface: 8, Program: 33} }, []string{"warning pins eth1: weir reload"}},

	{"no such interface", func(n *node) {
		n.config.Interfaces = append(n.config.Interfaces, "eth9")
		n.pins.Links["eth9"] = Pinned{Interface: 9}
	},
		[]string{"error nic eth9: ip link show"}},
	{"interface down", func(n *node) { n.eth0().Up = false }, []string{"error nic eth0: ip link set dev eth0 up"}},
	{"no carrier", func(n *node) { n.eth0().Carrier = false }, []string{"error nic eth0: ethtool eth0"}},

	{"generic for want of native", func(n *node) { n.eth0().XDP.Generic, n.eth0().XDP.Native = true, false }, []string{"warning driver eth0: ip -d link show dev eth0"}},
	{"generic though native is there", func(n *node) { n.eth0().XDP.Generic = true }, []string{"warning driver eth0: dmesg"}},
	{"generic as configured", func(n *node) { n.eth0().XDP.Generic, n.config.XDPMode = true, lb.XDPGeneric }, nil},
	{"nothing attached", func(n *node) { n.eth0().XDP.Program = 0 }, []string{"error driver eth0: systemctl restart weir"}},
	{"native configured, driver without", func(n *node) { n.unload(); n.eth0().XDP.Native, n.config.XDPMode = false, lb.XDPNative }, []string{
		noDaemon, "error driver eth0: weir run will refuse it",
	}},
	{"veth whose other end does not poll", func(n *node) { n.eth0().Driver, n.eth0().XDP.Transmit = "veth", false }, []string{"error driver eth0: ethtool -K PEER gro on"}},
	{"veth whose known other end does not poll", func(n *node) {
		n.eth0().Driver, n.eth0().XDP.Transmit, n.eth0().Peer = "veth", false, Peer{Name: "port0"}
	}, []string{"error driver eth0: ethtool -K port0 gro on"}},

	{"foreign program by link", func(n *node) { n.unload(); n.eth0().XDP.Program, n.eth0().XDP.Link = 44, 5 }, []string{noDaemon, "error xdp eth0: bpftool link detach id 5"}},
	{"foreign program by netlink", func(n *node) { n.unload(); n.eth0().XDP.Program = 44 }, []string{noDaemon, "error xdp eth0: ip link set dev eth0 xdpdrv off"}},
	{"foreign generic program", func(n *node) { n.unload(); n.eth0().XDP.Program, n.eth0().XDP.Generic = 44, true }, []string{
		noDaemon, "error xdp eth0: ip link set dev eth0 xdpgeneric off", "warning driver eth0: dmesg",
	}},

	{"too few queues", func(n *node) { n.eth0().Queues.RX, n.eth0().Queues.TX = 2, 2 }, []string{"warning queues eth0: ethtool -L eth0 combined 4"}},
	{"too few queues set apart", func(n *node) { n.eth0().Queues = Queues{RX: 1, TX: 4, MaxRX: 4, MaxTX: 4} }, []string{"warning queues eth0: ethtool -L eth0 rx 4 tx 4"}},
	{"as many queues as there can be", func(n *node) { n.eth0().Queues = Queues{RX: 1, TX: 1, MaxRX: 1, MaxTX: 1, Combined: true} }, []string{"warning queues eth0: ethtool -l eth0 # no more"}},
	{"virtio without spare queues", func(n *node) { n.eth0().Driver = "virtio_net"; n.eth0().Queues.MaxTX = 4 }, []string{"warning queues eth0: ethtool -l eth0 # give the virtual NIC 8 queues"}},
	{"virtio with spare queues", func(n *node) { n.eth0().Driver = "virtio_net" }, nil},

	{"LRO", func(n *node) { n.eth0().LRO = true }, []string{"error offloads eth0: ethtool -K eth0 lro off"}},
	{"partial checksums", func(n *node) { n.eth0().Peer = Peer{"port0", "nsenter --net=/run/netns/switch ", true} }, []string{
		"error offloads eth0: nsenter --net=/run/netns/switch ethtool -K port0 tx off",
	}},
	{"partial checksums under generic", func(n *node) {
		n.eth0().Peer, n.eth0().XDP.Generic, n.config.XDPMode = Peer{"port0", "", true}, true, lb.XDPGeneric
	}, nil},
	{"VLANs stripped", func(n *node) { n.eth0().VLANs = []string{"eth0.5"} }, []string{"error offloads eth0: ethtool -K eth0 rxvlan off"}},
	{"outer VLANs stripped", func(n *node) { n.eth0().OuterVLANs, n.eth0().StripsOuter = []string{"eth0.20"}, true }, []string{
		"error offloads eth0: ethtool -K eth0 rx-vlan-stag-hw-parse off",
	}},
	{"outer VLANs left", func(n *node) { n.eth0().OuterVLANs = []string{"eth0.20"} }, nil},

	{"MTU without room for a tunnel", func(n *node) { n.sendBy(lb.GUE) }, []string{"warning mtu eth0: ip link set dev eth0 mtu 1528"}},
	{"MTU with room for a tunnel", func(n *node) { n.sendBy(lb.IPIP); n.mtu(1520, 1520) }, nil},
	{"route without room for a tunnel", func(n *node) { n.sendBy(lb.IPIP); n.mtu(1600, 1500) }, []string{
		"warning mtu 10.0.0.11: ip route get 10.0.0.11", "warning mtu 10.0.0.12: ip route get 10.0.0.12",
	}},
	{"jumbo MTU", func(n *node) { n.unload(); n.eth0().MTU = 9000 }, []string{noDaemon, "warning mtu eth0: ip link set dev eth0 mtu 3498"}},
	{"jumbo MTU that the driver takes", func(n *node) { n.eth0().MTU = 9000 }, nil},
	{"MTU below IPv6's", func(n *node) { n.config.Services[0].VIP.Addr = netip.MustParseAddr("2001:db8::1"); n.mtu(1200, 1200) }, []string{"error mtu eth0: ip link set dev eth0 mtu 1500"}},

	{"no forwarding", func(n *node) { n.sysctl["net/ipv4/conf/eth0/forwarding"] = "0" }, []string{"error sysctls eth0: sysctl -w net/ipv4/conf/eth0/forwarding=1"}},
	{"no forwarding needed", func(n *node) { n.sendBy(lb.DSR); n.sysctl["net/ipv4/conf/eth0/forwarding"] = "0" }, nil},
	{"rp_filter on the interface", func(n *node) { n.sysctl["net/ipv4/conf/eth0/rp_filter"] = "1" }, []string{"warning sysctls eth0: sysctl -w net/ipv4/conf/eth0/rp_filter=0"}},
	{"rp_filter on all", func(n *node) { n.sysctl["net/ipv4/conf/all/rp_filter"] = "1" }, []string{"warning sysctls eth0: sysctl -w net/ipv4/conf/all/rp_filter=0"}},
	{"rp_filter loose on the interface", func(n *node) {
		n.sysctl["net/ipv4/conf/all/rp_filter"], n.sysctl["net/ipv4/conf/eth0/rp_filter"] = "1", "2"
	}, nil},

	{"l7 without its VIP", func(n *node) { n.sendBy(lb.L7) }, []string{"error addresses 192.0.2.1: ip addr add 192.0.2.1/32 dev lo"}},
	{"l7 with its VIP", func(n *node) { n.sendBy(lb.L7); n.addrs[vip] = "lo" }, nil},
	{"nat with its VIP", func(n *node) { n.addrs[vip] = "lo" }, []string{"warning addresses 192.0.2.1: ip addr del 192.0.2.1/32 dev lo"}},
	{"nat with its VIP accepted", func(n *node) { n.addrs[vip] = "lo"; n.sysctl["net/ipv4/conf/eth0/accept_local"] = "1" }, nil},
	{"dsr with its VIP", func(n *node) { n.sendBy(lb.DSR); n.addrs[vip] = "lo" }, nil},
	{"VIP here but silent", func(n *node) {
		n.sendBy(lb.DSR)
		n.onLink()
		n.addrs[vip] = "lo"
		n.sysctl["net/ipv4/conf/all/arp_ignore"] = "1"
	}, []string{
		"warning addresses 192.0.2.1: sysctl -w net/ipv4/conf/all/arp_ignore=0",
	}},

	{"VIP on the interface itself", func(n *node) {
		n.sendBy(lb.DSR)
		n.onLink()
		n.addrs[vip] = "eth0"
		n.sysctl["net/ipv4/conf/all/arp_ignore"] = "1"
	}, nil},
	{"VIP of the network on another host", func(n *node) { n.onLink(); n.owners = map[netip.Addr][]MAC{vip: {{2, 9, 9, 9, 9, 9}}} }, []string{
		"error owners 192.0.2.1: ip addr del 192.0.2.1/32 dev DEV # on the host with MAC address 02:09:09:09:09:09",
	}},
	{"routed VIP on another host", func(n *node) { n.owners = map[netip.Addr][]MAC{vip: {{2, 9, 9, 9, 9, 9}}} }, []string{"warning owners 192.0.2.1: ip addr del 192.0.2.1/32 dev DEV"}},
	{"VIP announced by a backend", func(n *node) { n.onLink(); n.owners = map[netip.Addr][]MAC{vip: {hopTo(11).DstMAC}} }, []string{"error owners 192.0.2.1: sysctl -w net/ipv4/conf/all/arp_ignore=1"}},
	{"snat source on another host", func(n *node) {
		n.config.SNAT.Source4 = []netip.Addr{netip.MustParseAddr("10.0.0.5")}
		n.owners = map[netip.Addr][]MAC{n.config.SNAT.Source4[0]: {{2, 9, 9, 9, 9, 9}}}
	}, []string{"error owners 10.0.0.5: ip addr del 10.0.0.5/32 dev DEV"}},
	{"VIP that nobody answers for", func(n *node) { n.onLink() }, []string{"warning owners 192.0.2.1: ip addr add 192.0.2.1/32 dev lo"}},

	{"no neighbour", func(n *node) { n.hops[backend1] = Hop{Reason: "no answer"} }, []string{"error neighbours web/10.0.0.11:80: ip route get 10.0.0.11"}},
	{"no neighbour of a drained backend", func(n *node) { n.hops[backend1], n.config.Pools[0].Backends[0].Weight = Hop{Reason: "no answer"}, 0 }, []string{"warning neighbours web/10.0.0.11:80: "}},
	{"no neighbour at all", func(n *node) { n.hops = nil }, []string{
		"error neighbours web/10.0.0.11:80: ", "error neighbours web/10.0.0.12:80: ", "error services web: ip neigh",
	}},

	{"all drained by hand", func(n *node) {
		for i := range n.daemon.Backends {
			n.daemon.Backends[i].State, n.daemon.Backends[i].Override = wire.StateDrained, "drain"
		}
	}, []string{"error services web: weir backend ready web/10.0.0.11:80"}},
	{"all of weight 0", func(n *node) { n.unload(); n.weigh(0) }, []string{noDaemon, "error services web: weir backend set web/10.0.0.11:80 --weight 1"}},
	{"one drained", func(n *node) { n.daemon.Backends[0].State = wire.StateDrained }, nil},

	{"services nearly full", func(n *node) { n.config.Limits.Services = 1 }, []string{"warning limits limits.services: set limits.services to 2"}},
	{"backends nearly full", func(n *node) { n.daemon.Backends[0].Services = make([]wire.BackendTraffic, 19) }, []string{"warning limits limits.backends: set limits.backends to 40"}},
	{"backends at 90 %", func(n *node) { n.daemon.Backends[0].Services = make([]wire.BackendTraffic, 18) }, nil},
	{"tables nearly full", func(n *node) { n.config.Limits.TableEntries = 13 }, []string{"warning limits limits.table_entries: set limits.table_entries to 26"}},
	{"flows nearly full", func(n *node) { n.daemon.Status.Flows.ByState = map[string]uint64{"embryonic": 500, "established": 401} }, []string{"warning limits limits.flows: set limits.flows to 2000"}},
	{"snat exhausted", func(n *node) {
		n.daemon.Status.Reasons = []lb.ReasonCount{{Reason: "snat_exhausted", Verdict: "drop", Packets: 9}, {Reason: "ttl", Verdict: "drop", Packets: 9}}
	}, []string{"warning limits snat: add to snat.addresses"}},
	{"flows not stored", func(n *node) { n.daemon.Status.Totals.Unstored = 1 }, []string{"warning limits flow table: set limits.flows to 2000"}},
}

func (n *node) mtu(link, route int) {
	n.eth0().MTU = link
	for a, hop := range n.hops {
		hop.MTU = route
		n.hops[a] = hop
	}
}

// onLink puts the VIP into the network of eth0.
func (n *node) onLink() {
	n.eth0().Prefixes = append(n.eth0().Prefixes, netip.MustParsePrefix("192.0.2.200/24"))
}

func (n *node) weigh(w lb.Weight) {
	for i := range n.config.Pools[0].Backends {
		n.config.Pools[0].Backends[i].Weight = w
	}
}

func TestFindings(t *testing.T) {
	for _, c := range nodes {
		t.Run(c.name, func(t *testing.T) {
			n := healthy()
			c.damage(n)
			var got []Finding
			for _, f := range n.examine() {
				if f.Severity != OK {
					got = append(got, f)
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("found %d, want %d: %+v", len(got), len(c.want), got)
			}
			for i, f := range got {
				line := fmt.Sprintf("%s %s %s: %s", f.Severity, f.Check, f.Where, f.Remedy)
				if !strings.HasPrefix(line, c.want[i]) {
					t.Errorf("found %q, want %q…", line, c.want[i])
				}
				if f.What == "" {
					t.Errorf("%q does not say what is wrong", line)
				}
			}
		})
	}
}

func TestEveryCheckSaysWhatIsFine(t *testing.T) {
	silent := map[string]bool{"look": true}
	seen := map[string]bool{}
	for _, f := range healthy().examine() {
		seen[f.Check] = true
	}
	e := &exam{Subject: Subject{Config: &lb.Config{}}}
	for _, c := range append(e.always(), e.configured(t.Context())...) {
		if !seen[c.name] && !silent[c.name] {
			t.Errorf("check %s says nothing about a healthy node", c.name)
		}
	}
}

func TestConfigurationThatCannotBeUsed(t *testing.T) {
	n := healthy()
	for _, c := range []struct {
		subject Subject
		remedy  string
	}{
		{Subject{ConfigFile: "w.yaml", ConfigErr: errors.New("w.yaml:1: x\nw.yaml:2: y")}, "weir config check w.yaml"},
		{Subject{Socket: "/run/s"}, "weir doctor -c FILE"},
	} {
		all := Examine(t.Context(), c.subject, n)
		if all[0].Severity != Error || all[0].Check != "config" || all[0].Remedy != c.remedy || strings.Contains(all[0].What, "\n") {
			t.Errorf("found %+v, want %q", all[0], c.remedy)
		}
	}
}

func TestFileChangedSinceItWasRead(t *testing.T) {
	n := healthy()
	n.subject.ConfigFile = filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(n.subject.ConfigFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n.daemon.Status.ConfigLoaded = time.Now().Add(time.Hour)
	if f := n.examine()[0]; f.Severity != OK {
		t.Errorf("a file that was read: %+v", f)
	}
	n.daemon.Status.ConfigLoaded = time.Now().Add(-time.Hour)
	if f := n.examine()[0]; f.Remedy != "weir reload" {
		t.Errorf("a file changed since: %+v", f)
	}
}

func TestAtMost(t *testing.T) {
	n := healthy()
	n.hops = nil
	for i := range 100 {
		n.config.Pools[0].Backends = append(n.config.Pools[0].Backends, lb.Backend{Addr: backend1, Port: uint16(1000 + i), Weight: 1})
	}
	found := 0
	last := Finding{}
	for _, f := range n.examine() {
		if f.Check == "neighbours" {
			found++
			last = f
		}
	}
	if found != maxAlike+1 || last.What != "and 92 more like these" {
		t.Errorf("%d findings, the last %+v", found, last)
	}
}
