// Package lb holds weir's domain types: plain comparable values that the
// configuration, the control loop and the data plane agree on. It does no I/O
// and imports only the standard library.
package lb

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Proto is an IP protocol number (IANA). Only TCP and UDP are balanced.
type Proto uint8

// The protocols a VIP can have.
const (
	TCP Proto = 6
	UDP Proto = 17
)

// ParseProto reads "tcp" or "udp", in any case.
func ParseProto(s string) (Proto, error) {
	switch strings.ToLower(s) {
	case "tcp":
		return TCP, nil
	case "udp":
		return UDP, nil
	}
	return 0, fmt.Errorf("protocol %q is not tcp or udp", s)
}

func (p Proto) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return "proto-" + strconv.Itoa(int(p))
}

// VIP is the address, port and protocol that clients use. Port 0 stands for
// every port of the address. A VIP is comparable and serves as a map key.
type VIP struct {
	Addr  netip.Addr
	Port  uint16
	Proto Proto
}

// ParseVIP reads "192.0.2.1:80/tcp", "[2001:db8::1]:53/udp" or, for every
// port, "192.0.2.1:*/tcp". Without a protocol it is TCP. Zones, unspecified,
// loopback, multicast and IPv4-mapped addresses are refused.
func ParseVIP(s string) (VIP, error) {
	host, protoName, found := strings.Cut(s, "/")
	proto := TCP
	if found {
		var err error
		if proto, err = ParseProto(protoName); err != nil {
			return VIP{}, fmt.Errorf("VIP %q: %w", s, err)
		}
	}
	anyPort := strings.HasSuffix(host, ":*")
	if anyPort {
		host = strings.TrimSuffix(host, "*") + "0"
	}
	ap, err := netip.ParseAddrPort(host)
	if err != nil {
		return VIP{}, fmt.Errorf("VIP %q is not ADDRESS:PORT/PROTO", s)
	}
	if ap.Port() == 0 && !anyPort {
		return VIP{}, fmt.Errorf("VIP %q: port 0 is not valid; use * for every port", s)
	}
	if err := CheckAddr(ap.Addr()); err != nil {
		return VIP{}, fmt.Errorf("VIP %q: %w", s, err)
	}
	return VIP{Addr: ap.Addr(), Port: ap.Port(), Proto: proto}, nil
}

// CheckAddr says why an address cannot be a VIP or a backend, or nil.
func CheckAddr(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return fmt.Errorf("address is missing")
	case a.Zone() != "":
		return fmt.Errorf("address %s has a zone", a)
	case a.Is4In6():
		return fmt.Errorf("address %s is IPv4-mapped; write it as %s", a, a.Unmap())
	case a.IsUnspecified(), a.IsLoopback(), a.IsMulticast(), a.IsLinkLocalUnicast():
		return fmt.Errorf("address %s is not a routable unicast address", a)
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("address %s is the broadcast address", a)
	}
	return nil
}

func (v VIP) String() string {
	port := "*"
	if v.Port != 0 {
		port = strconv.Itoa(int(v.Port))
	}
	host := v.Addr.String()
	if v.Addr.Is6() {
		host = "[" + host + "]"
	}
	return host + ":" + port + "/" + v.Proto.String()
}

// MarshalText lets a VIP appear in JSON in its written form.
func (v VIP) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText is ParseVIP.
func (v *VIP) UnmarshalText(b []byte) (err error) {
	*v, err = ParseVIP(string(b))
	return err
}

// Forward is how a service's packets reach its backends.
type Forward uint8

// Forwarding modes. The numbers are those of enum forward in bpf/types.h.
const (
	NAT  Forward = 1 // destination rewritten, replies rewritten on the way back
	DSR  Forward = 2 // MAC rewrite; the backend answers the client directly
	L7   Forward = 3 // handed to the local stack
	IPIP Forward = 4 // IP in IP; the backend answers the client directly
	GUE  Forward = 5 // IP in UDP; the backend answers the client directly
	SNAT Forward = 6 // both addresses rewritten; backends need no route to us
)

// ForwardNames lists the forwarding modes for people.
const ForwardNames = "nat, snat, dsr, ipip, gue or l7"

var forwardNames = map[Forward]string{NAT: "nat", DSR: "dsr", L7: "l7", IPIP: "ipip", GUE: "gue", SNAT: "snat"}

// KeepsPacket reports whether backends get the client's packet as it was sent,
// to the VIP and its port.
func (f Forward) KeepsPacket() bool { return f == DSR || f.Tunnel() }

// Translates reports whether addresses are rewritten, and replies come back
// through us.
func (f Forward) Translates() bool { return f == NAT || f == SNAT }

// Tunnel reports whether packets travel inside others, which may be of the
// other address family.
func (f Forward) Tunnel() bool { return f == IPIP || f == GUE }

// ParseForward reads a forwarding mode's name.
func ParseForward(s string) (Forward, error) {
	for f, name := range forwardNames {
		if s == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("forwarding mode %q is not %s", s, ForwardNames)
}

func (f Forward) String() string {
	if name, ok := forwardNames[f]; ok {
		return name
	}
	return "forward-" + strconv.Itoa(int(f))
}

// MarshalText writes the mode's name.
func (f Forward) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText is ParseForward.
func (f *Forward) UnmarshalText(b []byte) (err error) {
	*f, err = ParseForward(string(b))
	return err
}

// Algorithm is how a pool chooses the backend of a new flow.
type Algorithm uint8

// Algorithms.
const (
	Maglev             Algorithm = 1
	RoundRobin         Algorithm = 2
	WeightedRoundRobin Algorithm = 3
	LeastConn          Algorithm = 4
	Random             Algorithm = 5 // the less loaded of two candidates
)

// AlgorithmNames lists the algorithms for people.
const AlgorithmNames = "maglev, round_robin (rr), weighted_round_robin (wrr), least_conn (lc) or random"

// ParseAlgorithm reads one of AlgorithmNames.
func ParseAlgorithm(s string) (Algorithm, error) {
	switch s {
	case "maglev":
		return Maglev, nil
	case "round_robin", "rr":
		return RoundRobin, nil
	case "weighted_round_robin", "wrr":
		return WeightedRoundRobin, nil
	case "least_conn", "lc":
		return LeastConn, nil
	case "random":
		return Random, nil
	}
	return 0, fmt.Errorf("algorithm %q is not %s", s, AlgorithmNames)
}

func (a Algorithm) String() string {
	switch a {
	case Maglev:
		return "maglev"
	case RoundRobin:
		return "round_robin"
	case WeightedRoundRobin:
		return "weighted_round_robin"
	case LeastConn:
		return "least_conn"
	case Random:
		return "random"
	}
	return "algorithm-" + strconv.Itoa(int(a))
}

// ComparesLoads reports whether new flows go where the fewest are.
func (a Algorithm) ComparesLoads() bool { return a == LeastConn || a == Random }

// MarshalText writes the algorithm's long name.
func (a Algorithm) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is ParseAlgorithm.
func (a *Algorithm) UnmarshalText(b []byte) (err error) {
	*a, err = ParseAlgorithm(string(b))
	return err
}

// Weight is a configured weight: a backend's share of its pool's new flows is
// its weight over the pool's sum. 0 drains the backend.
type Weight uint32

// MaxWeight is the largest configured weight.
const MaxWeight Weight = 1000

// EffectiveWeight is what is programmed, in 1/64 of a configured weight.
type EffectiveWeight uint32

// EffectiveUnit is the effective weight of a configured weight of 1.
const EffectiveUnit EffectiveWeight = 64
