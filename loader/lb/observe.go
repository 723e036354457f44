package lb

import (
	"net/netip"
	"time"
)

// BackendCounters are the data plane's counts for one (service, backend)
// pair. All but Active only grow, and survive a restart of the loader.
type BackendCounters struct {
	VIP          VIP            `json:"vip"`
	Endpoint     netip.AddrPort `json:"backend"`
	ID           uint32         `json:"id"`
	Retired      bool           `json:"retired"`  // out of the configuration, still draining
	Active       uint64         `json:"active"`   // flows now
	Flows        uint64         `json:"flows"`    // flows assigned
	Unstored     uint64         `json:"unstored"` // packets forwarded with no room to store their flow
	Packets      uint64         `json:"packets"`
	Bytes        uint64         `json:"bytes"` // whole frames
	ReplyPackets uint64         `json:"reply_packets"`
	ReplyBytes   uint64         `json:"reply_bytes"`
}

// ReasonCount says how many packets met one verdict: "drop", "pass" or, for
// answers of our own, "sent".
type ReasonCount struct {
	Reason  string `json:"reason"`
	Verdict string `json:"verdict"`
	Packets uint64 `json:"packets"`
}

// Counters is one reading of all counters.
type Counters struct {
	Backends []BackendCounters `json:"backends"`
	Services []ServiceCounters `json:"services"` // of those that may refuse, sorted by VIP
	Reasons  []ReasonCount     `json:"reasons"`
}

// ServiceCounters are packets that a service refused, by reason. They only
// grow, and survive a restart of the loader.
type ServiceCounters struct {
	VIP               VIP    `json:"vip"`
	ACL               uint64 `json:"acl"`
	NewFlowsPerSource uint64 `json:"new_flows_per_source"`
	MaxNewFlows       uint64 `json:"max_new_flows"`
}

// FlowUse is what one sweep of the flow table found.
type FlowUse struct {
	Slots   uint64            `json:"slots"`    // capacity of the table
	ByState map[string]uint64 `json:"by_state"` // slots in use, by state
	Expired uint64            `json:"expired"`  // removed by this sweep

	// Source addresses and ports of snat, all and those in use.
	SNATSlots uint64 `json:"snat_slots,omitempty"`
	SNATUsed  uint64 `json:"snat_used,omitempty"`

	Troubled []Troubled `json:"-"`
}

// Troubled is a backend of which recent flows say that it may not be well.
type Troubled struct {
	VIP        VIP
	Endpoint   netip.AddrPort
	Unanswered uint64 // SYNs that no ACK followed
	Reset      uint64 // flows that the backend reset
}

// Flow is one entry of the flow table. The table holds a fingerprint and not
// the addresses, so a flow can be found by its addresses but not the reverse.
type Flow struct {
	Set      uint32         `json:"set"`
	Slot     uint8          `json:"slot"`
	Tag      uint32         `json:"tag"`
	State    string         `json:"state"`
	Idle     time.Duration  `json:"idle_ns"` // to the flow clock's unit
	VIP      VIP            `json:"vip"`
	Endpoint netip.AddrPort `json:"backend"`
	ID       uint32         `json:"id"`
}

// FlowKey is a 5-tuple as the client sends it.
type FlowKey struct {
	Src, Dst netip.AddrPort
	Proto    Proto
}

// Event is one record of the event stream. Fields that an event does not have
// are empty.
type Event struct {
	Time    time.Time      `json:"time"`
	Kind    string         `json:"kind"` // flow-new, flow-closed, drop, table, backend, config, apply, lost
	Reason  string         `json:"reason,omitempty"`
	Service string         `json:"service,omitempty"`
	VIP     string         `json:"vip,omitempty"`
	Backend string         `json:"backend,omitempty"`
	Src     netip.AddrPort `json:"src,omitzero"`
	Dst     netip.AddrPort `json:"dst,omitzero"`
	Proto   string         `json:"proto,omitempty"`
	Length  uint32         `json:"length,omitempty"` // bytes of the frame
	Iface   string         `json:"interface,omitempty"`
	Message string         `json:"message,omitempty"`
	Sampled uint32         `json:"sampled,omitempty"` // stands for this many
	NeedHop bool           `json:"-"`                 // a reply found no neighbour for Dst
}

// Attachment is the program on one interface.
type Attachment struct {
	Interface string `json:"interface"`
	Mode      string `json:"mode"` // native or generic
	LinkID    uint32 `json:"link_id"`
	ProgramID uint32 `json:"program_id"`
}

// MapInfo is one pinned map.
type MapInfo struct {
	Name  string `json:"name"`
	ID    uint32 `json:"id"`
	Bytes uint64 `json:"bytes"` // memory, as the kernel counts it
}

// DataPlaneInfo describes what is loaded.
type DataPlaneInfo struct {
	PinDir      string       `json:"pin_dir"`
	Adopted     bool         `json:"adopted"` // found pinned at start, not created
	Layout      uint32       `json:"layout"`  // version of the maps' layout
	Attachments []Attachment `json:"attachments"`
	Maps        []MapInfo    `json:"maps"`
}
