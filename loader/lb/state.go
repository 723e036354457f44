package lb

import (
	"net/netip"
	"slices"
)

// Backend is one server of a pool as configured. Port 0 keeps the port that
// the client used, as DSR and every-port services need.
type Backend struct {
	Addr   netip.Addr
	Port   uint16
	Weight Weight

	// ServerID is what the backend's QUIC connection ids say, raw bytes; empty
	// if the pool has no QUIC.
	ServerID string

	Health *Health // nil: the pool's
	Agent  *Agent  // nil: the pool's
	Limits []Limit // over which it is cut off
}

// Endpoint is the backend's identity inside its pool, "ADDRESS:PORT".
func (b Backend) Endpoint() netip.AddrPort { return netip.AddrPortFrom(b.Addr, b.Port) }

// Pool is a named set of backends that can serve the same requests.
type Pool struct {
	Name      string
	Algorithm Algorithm
	TableSize uint32 // Maglev table entries, a prime
	Health    Health
	Law       Law
	Agent     Agent
	Backends  []Backend
	QUIC      QUIC
	HTTP      *PoolHTTP // nil: the HTTP tier does not use the pool
}

// QUIC says what the connection ids of a pool's QUIC servers look like
// (draft-ietf-quic-load-balancers-19, plaintext server ids): for each
// configuration id the server ids' length in bytes, 0 for those not in use.
// The zero value means that connection ids are not looked at.
type QUIC [8]uint8

// On reports whether connection ids are looked at.
func (q QUIC) On() bool { return q != QUIC{} }

// Bounds of QUIC-LB: configuration ids are 0 to MaxQUICConfig (7 says that a
// connection id has no server id), server ids have 1 to MaxServerID bytes.
const (
	MaxQUICConfig = 6
	MaxServerID   = 15
)

// HealthOf is how one of the pool's backends is checked.
func (p Pool) HealthOf(b Backend) Health {
	if b.Health != nil {
		return *b.Health
	}
	return p.Health
}

// Follows reports whether weights of the pool depend on what agents say.
func (p Pool) Follows() bool {
	return p.Law.Mode != ModeStatic || p.Agent.Enabled() || slices.ContainsFunc(p.Backends, func(b Backend) bool { return b.Agent != nil })
}

// AgentOf is how the agent of one of the pool's backends is asked.
func (p Pool) AgentOf(b Backend) Agent {
	if b.Agent != nil {
		return *b.Agent
	}
	return p.Agent
}

// Service is a VIP, its forwarding mode and its pool.
type Service struct {
	Name    string
	VIP     VIP
	Forward Forward
	Pool    string // empty for l7

	MSS uint16 // most that a SYN may state; 0: anything, MSSAuto: what fits

	ACL               *ACL      // beside that of all services; nil: none
	NewFlowsPerSource FlowLimit // of each IPv4 address and IPv6 /64
	MaxNewFlows       uint32    // a second, on this node; 0: no limit
}

// MSSAuto stands for what fits the way to the backend, tunnel headers included.
const MSSAuto = 1

// Bounds of a configured Service.MSS: what every IPv4 host takes (RFC 9293,
// 3.7.1), and what the option can hold.
const (
	MinMSS = 536
	MaxMSS = 65535
)

// NextHop is where frames for a backend leave: interface, both MAC addresses
// and the path's MTU in bytes. The zero value means not resolved yet.
type NextHop struct {
	IfIndex int
	SrcMAC  [6]byte
	DstMAC  [6]byte
	MTU     int
}

// Resolved reports whether frames can be sent.
func (h NextHop) Resolved() bool { return h.IfIndex != 0 && h.DstMAC != [6]byte{} }

// State is all that the data plane shall hold, in full: applying the same
// State twice changes nothing. What its slices hold is never changed once it
// was applied; a later State that has the same memory as an earlier one says
// so that this part of it is unchanged.
type State struct {
	ACL      *ACL // of all services; nil: none
	Services []ServiceState
	Tables   []Table
	VLANs    []VLAN // all of the host; without any, frames with tags are passed
}

// ServiceState is one service and the backends it sends to. Backends is empty
// for l7.
type ServiceState struct {
	Service  Service
	Table    int // index into State.Tables; services of one pool share it
	QUIC     QUIC
	Backends []BackendState
}

// BackendState is one backend of a service, at the slot that the service's
// table refers to.
type BackendState struct {
	Endpoint  netip.AddrPort
	Effective EffectiveWeight
	Hop       NextHop
	ServerID  string // see Backend.ServerID
}

// Table is what the kernel picks from: slots into ServiceState.Backends. An
// empty table means that no backend takes new flows. With an algorithm that
// compares loads each entry has a slot in its low 16 bits and that backend's
// weight in the high 16.
type Table struct {
	Algorithm Algorithm
	Slots     []uint32
}

// Slot is the slot of an entry, without the weight that may be there.
func (t Table) Slot(entry int) uint32 {
	if t.Algorithm.ComparesLoads() {
		return t.Slots[entry] & 0xffff
	}
	return t.Slots[entry]
}
