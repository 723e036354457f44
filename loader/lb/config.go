package lb

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Config is a whole configuration, checked and with defaults filled in.
// Pools and Services are in the file's order; every Service.Pool exists.
type Config struct {
	Interfaces  []string
	XDPMode     XDPMode
	PinDir      string // a directory of a bpf file system
	Socket      string // unix socket of the admin API
	StateDir    string // overrides made from the CLI live here
	Seed        uint64 // nodes that share VIPs and agree on it pick alike
	EventSample uint32 // one in this many flow events is sent
	Limits      Limits // of maps that are made anew
	Least       Limits // of maps that were made earlier; zero stands for Limits
	Timeouts    Timeouts
	Tunnel      Tunnel
	SNAT        SNATSources
	ACL         *ACL // of all services; nil: none

	// DropFragments drops those to VIPs instead of following the first of each
	// packet.
	DropFragments bool

	Pools    []Pool
	Services []Service
	HTTP     HTTP
}

// SNATSources names the addresses that snat services take their sources from. Each
// gives 64,512 flows at once a source of their own.
type SNATSources struct {
	Source4 []netip.Addr
	Source6 []netip.Addr
}

// MaxSNATSources is how many addresses there may be, both families together.
const MaxSNATSources = 32

// Equal reports whether both name the same addresses in the same order.
func (s SNATSources) Equal(o SNATSources) bool {
	return slices.Equal(s.Source4, o.Source4) && slices.Equal(s.Source6, o.Source6)
}

// Tunnel says what the outer headers of ipip and gue look like. The flow's
// hash fills the rest of the source prefixes (a /16 and a /64), so that a
// backend's receive queues spread.
type Tunnel struct {
	GUEPort uint16
	Source4 netip.Prefix
	Source6 netip.Prefix
}

// XDPMode is how the program is attached.
type XDPMode uint8

// XDP modes: auto tries native, then generic.
const (
	XDPAuto XDPMode = iota
	XDPNative
	XDPGeneric
)

var xdpModeNames = [...]string{XDPAuto: "auto", XDPNative: "native", XDPGeneric: "generic"}

// ParseXDPMode reads a mode's name.
func ParseXDPMode(s string) (XDPMode, error) {
	for m, name := range xdpModeNames {
		if s == name {
			return XDPMode(m), nil
		}
	}
	return 0, fmt.Errorf("xdp mode %q is not auto, native or generic", s)
}

func (m XDPMode) String() string { return xdpModeNames[m] }

// Room is what maps that were made earlier must have room for.
func (c Config) Room() Limits {
	if c.Least == (Limits{}) {
		return c.Limits
	}
	return c.Least
}

// Limits size the kernel maps when they are created; they are fixed until
// `weir unload`.
type Limits struct {
	Services     uint32 // VIPs, those that drain included
	Backends     uint32 // (service, backend) pairs, those that drain included
	Flows        uint32 // flows tracked at once
	TableEntries uint32 // entries of all tables together, during a swap twice
	Sources      uint32 // sources whose new flows are counted at once
}

// MaxBackends is the largest Limits.Backends: a flow word has 18 bits for a
// backend id and id 0 is never used.
const MaxBackends = 1<<18 - 1

// Timeouts are the idle times after which a flow is forgotten. The flow table
// counts in units of 2^32 ns (4.3 s) and 11 bits, so they are rounded up to
// that unit and at most MaxTimeout.
type Timeouts struct {
	Embryonic   time.Duration // SYN seen and no ACK yet; one UDP packet
	Established time.Duration // TCP
	Closing     time.Duration // after the client's FIN
	UDP         time.Duration // two or more UDP packets
}

// MaxTimeout is half of what the flow table's clock can tell apart, so that a
// sweep that comes late still sees the true age.
const MaxTimeout = time.Hour
