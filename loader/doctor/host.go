package doctor

import (
	"context"
	"net/netip"

	"weir/loader/lb"
)

// Host is what the checks read of the machine, in the network namespace they
// run in. Package host has the real one.
type Host interface {
	Kernel() Kernel
	CPUs() (int, error)
	// Link describes an interface; fs.ErrNotExist if there is none.
	Link(name string) (Link, error)
	// Addresses gives all addresses of this host with their interfaces.
	Addresses() (map[netip.Addr]string, error)
	// Hops asks for next hops and waits a moment for neighbours to answer.
	Hops(context.Context, []netip.Addr) (map[netip.Addr]Hop, error)
	Pins(lb.Config) (Pins, error)
	sysctls
	bpffs
	network
	prober
}

// sysctls reads settings below /proc/sys: "net/ipv4/ip_forward".
type sysctls interface {
	Sysctl(key string) (string, error)
}

type bpffs interface {
	// OnBPFFS reports whether a directory is on a bpf file system.
	OnBPFFS(dir string) bool
}

type network interface {
	// SameNetwork reports whether a process is in this network namespace.
	SameNetwork(pid int) bool
}

type prober interface {
	// Owners asks on an interface who has these addresses (ARP, neighbour
	// discovery) and returns the MAC addresses of others than this host.
	Owners(context.Context, Link, []netip.Addr) (map[netip.Addr][]MAC, error)
}

// MAC is an Ethernet address.
type MAC [6]byte

// Kernel is what matters of the running kernel.
type Kernel struct {
	Release string // as uname -r
	BTF     bool
}

// Link is one interface.
type Link struct {
	Name        string
	Index       int
	Driver      string // "" if it does not say
	MAC         MAC
	MTU         int            // bytes
	Up, Carrier bool           // set up; connected
	Prefixes    []netip.Prefix // its addresses
	VLANs       []string       // VLAN interfaces on top of it
	OuterVLANs  []string       // those of them with tags of 802.1ad
	LRO         bool           // receive offload that joins packets
	StripsVLAN  bool           // receive offload that takes VLAN tags out of frames
	StripsOuter bool           // likewise those of 802.1ad
	Queues      Queues
	XDP         XDP
	Peer        Peer
}

// Peer is the other end of a veth; Name is empty if it is not known.
type Peer struct {
	Name             string
	Enter            string // what to put before a command to run it there
	PartialChecksums bool   // it leaves transmit checksums to a device that is none
}

// Queues counts receive and transmit queues.
type Queues struct {
	RX, TX       int
	MaxRX, MaxTX int  // 0 if the driver cannot change them
	Combined     bool // they are set as pairs
}

// XDP is the XDP side of an interface.
type XDP struct {
	Program uint32 // id; 0 if none is attached
	Name    string // of the program
	Generic bool
	Link    uint32 // id of the BPF link that holds it; 0 if none does
	// What the driver says it can do; Linux 6.3 and newer.
	Known, Native, Transmit bool
}

// Hop is a next hop, or why there is none.
type Hop struct {
	lb.NextHop
	Reason string
}

// Pins is what is pinned for a configuration.
type Pins struct {
	Found   bool
	Held    bool              // by a daemon
	Refusal error             // why this weir would not adopt them
	Limits  lb.Limits         // of the maps
	Links   map[string]Pinned // by interface name
}

// Pinned is a pinned attachment.
type Pinned struct {
	Interface int // index
	Program   uint32
}
