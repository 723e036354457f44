// Package wire holds the JSON bodies that the daemon's admin API and its
// clients exchange.
package wire

import (
	"net/netip"
	"time"

	"weir/loader/lb"
)

// Status is the answer to GET /v1/status.
type Status struct {
	Version      string           `json:"version"`
	PID          int              `json:"pid"`
	Started      time.Time        `json:"started"`
	ConfigFile   string           `json:"config_file"`
	ConfigLoaded time.Time        `json:"config_loaded"`
	Warnings     []string         `json:"warnings"`
	ApplyError   string           `json:"apply_error,omitempty"` // why the data plane refused the last change
	DataPlane    lb.DataPlaneInfo `json:"data_plane"`
	Flows        lb.FlowUse       `json:"flows"`
	Services     int              `json:"services"`
	Backends     int              `json:"backends"` // of all pools
	Reasons      []lb.ReasonCount `json:"reasons"`
	Totals       Totals           `json:"totals"`
}

// Traffic is what was counted for a backend, a service or all of them. All
// but Active only grow.
type Traffic struct {
	Active       uint64 `json:"active"`   // flows now
	Flows        uint64 `json:"flows"`    // flows assigned
	Unstored     uint64 `json:"unstored"` // packets forwarded with no room to store their flow
	Packets      uint64 `json:"packets"`
	Bytes        uint64 `json:"bytes"`
	ReplyPackets uint64 `json:"reply_packets"`
	ReplyBytes   uint64 `json:"reply_bytes"`
}

// Add adds another count.
func (t *Traffic) Add(o Traffic) {
	t.Active += o.Active
	t.Flows += o.Flows
	t.Unstored += o.Unstored
	t.Packets += o.Packets
	t.Bytes += o.Bytes
	t.ReplyPackets += o.ReplyPackets
	t.ReplyBytes += o.ReplyBytes
}

// TrafficOf takes the counts of one (service, backend) pair.
func TrafficOf(c lb.BackendCounters) Traffic {
	return Traffic{Active: c.Active, Flows: c.Flows, Unstored: c.Unstored, Packets: c.Packets,
		Bytes: c.Bytes, ReplyPackets: c.ReplyPackets, ReplyBytes: c.ReplyBytes}
}

// Totals are the counts of the whole node.
type Totals struct {
	Traffic
	Dropped uint64 `json:"dropped"` // packets
	Passed  uint64 `json:"passed"`  // packets handed to the local stack
}

// Service is one element of GET /v1/services.
type Service struct {
	Name      string     `json:"name"`
	VIP       lb.VIP     `json:"vip"`
	Forward   lb.Forward `json:"forward"`
	Pool      string     `json:"pool,omitempty"`      // none for l7
	Algorithm string     `json:"algorithm,omitempty"` // none for l7
	Backends  int        `json:"backends"`
	Taking    int        `json:"taking"` // backends that get new flows
	Refused   Refused    `json:"refused"`
	Traffic
}

// Refused are packets that a service refused, by reason.
type Refused struct {
	ACL               uint64 `json:"acl"`
	NewFlowsPerSource uint64 `json:"new_flows_per_source"`
	MaxNewFlows       uint64 `json:"max_new_flows"`
}

// Sum is all of them.
func (r Refused) Sum() uint64 { return r.ACL + r.NewFlowsPerSource + r.MaxNewFlows }

// Services is the answer to GET /v1/services.
type Services struct {
	Services []Service `json:"services"`
}

// States of a backend.
const (
	StateReady   = "ready"   // gets new flows
	StateDrained = "drained" // weight 0: its flows finish
	StateDown    = "down"    // its health check fails: gets new flows only if most of the pool is down
	StateRetired = "retired" // out of the configuration: its flows finish
)

// Backend is one element of GET /v1/backends.
type Backend struct {
	Pool      string           `json:"pool,omitempty"` // unknown for some retired ones
	Backend   netip.AddrPort   `json:"backend"`
	State     string           `json:"state"`
	Weight    lb.Weight        `json:"weight"`              // configured
	Override  string           `json:"override,omitempty"`  // "drain" or "weight N"
	Effective float64          `json:"effective_weight"`    // in units of configured weights
	Share     float64          `json:"share"`               // of the pool's new flows, 0 to 1
	Interface int              `json:"interface,omitempty"` // index of where frames leave
	MAC       string           `json:"mac,omitempty"`       // of the next hop
	Resolved  bool             `json:"resolved"`            // whether the next hop is known
	Services  []BackendTraffic `json:"services"`
	Traffic
}

// BackendTraffic is what one service sent to a backend.
type BackendTraffic struct {
	Service string `json:"service,omitempty"` // unknown for some retired ones
	VIP     lb.VIP `json:"vip"`
	ID      uint32 `json:"id"`
	Retired bool   `json:"retired"`
	Traffic
}

// Backends is the answer to GET /v1/backends.
type Backends struct {
	Backends []Backend `json:"backends"`
}

// Flow is one element of GET /v1/flows.
type Flow struct {
	lb.Flow
	Service string `json:"service,omitempty"`
	Pool    string `json:"pool,omitempty"`
}

// Flows is the answer to GET /v1/flows.
type Flows struct {
	Flows     []Flow `json:"flows"`
	Truncated bool   `json:"truncated"` // the limit was reached
}

// Explanation is the answer to GET /v1/explain: what the data plane does, and
// what the configuration says about the service and the backend.
type Explanation struct {
	lb.Explanation
	Service   string   `json:"service,omitempty"`
	Pool      string   `json:"pool,omitempty"`
	Algorithm string   `json:"algorithm,omitempty"`
	Weight    *Backend `json:"weight,omitempty"`    // the backend as configured; none if it is retired
	Interface string   `json:"interface,omitempty"` // name of the one where it leaves
	HopReason string   `json:"hop_reason,omitempty"`
}

// ACLs is the answer to GET /v1/acl.
type ACLs struct {
	ACLs []ACL `json:"acls"`
}

// ACL is a list in force: that of all services, or one service's own.
type ACL struct {
	Service string    `json:"service,omitempty"` // none: of all
	VIP     *lb.VIP   `json:"vip,omitempty"`
	Rules   []ACLRule `json:"rules"` // sorted by prefix
}

// ACLRule is what holds for the sources of a prefix that are in no longer one.
type ACLRule struct {
	Prefix netip.Prefix `json:"prefix"`
	Deny   bool         `json:"deny"`
}

// ACLTest is the answer to GET /v1/acl/test: what the kernel does with packets
// of a source.
type ACLTest struct {
	Src      netip.Addr   `json:"src"`
	Verdicts []ACLVerdict `json:"verdicts"` // of each list; none: all is allowed
}

// ACLVerdict is what one list says.
type ACLVerdict struct {
	lb.ACLVerdict
	Service string `json:"service,omitempty"` // none: of all
}

// SetWeight is the body of POST /v1/backends/{pool}/{endpoint}/weight.
type SetWeight struct {
	Weight *lb.Weight `json:"weight"`
	Term
}

// Term says how long a change lasts and why it was made. It is the body of
// POST /v1/backends/{pool}/{endpoint}/drain, which may be empty.
type Term struct {
	For    string `json:"for,omitempty"`    // a duration such as 10m; "": until it is taken back
	Reason string `json:"reason,omitempty"` // one line, at most 200 bytes
}

// Changed is the answer to a change: the data plane holds it.
type Changed struct {
	OK bool `json:"ok"`
}

// Error is the body of every answer that is not 2xx.
type Error struct {
	Error string `json:"error"`
}
