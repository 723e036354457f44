package lb

import "net/netip"

// Probe is the packet that Explain is asked about: the first of a connection,
// or with Ack a later one. UDP knows no difference.
type Probe struct {
	FlowKey
	Ack bool
}

// Explanation is what the data plane does with a packet, step by step, and
// whether the program agrees.
type Explanation struct {
	Src       netip.AddrPort `json:"src"`
	Dst       netip.AddrPort `json:"dst"`
	Proto     string         `json:"proto"`
	TCPFlags  string         `json:"tcp_flags,omitempty"` // SYN or ACK
	VIP       *VIP           `json:"vip,omitempty"`       // of the service that matches
	EveryPort bool           `json:"every_port,omitempty"`
	ACL       []ACLVerdict   `json:"acl,omitempty"`       // of the lists that concern the packet
	Limits    []LimitState   `json:"limits,omitempty"`    // of new flows, if the packet would open one
	Flow      *Flow          `json:"flow,omitempty"`      // what the table has for this 5-tuple
	Reopens   bool           `json:"reopens,omitempty"`   // that flow has ended or lost its backend; this starts another
	Pick      *Pick          `json:"pick,omitempty"`      // of a new flow
	Backend   *ChosenBackend `json:"backend,omitempty"`   // this packet's
	Expected  Outcome        `json:"expected"`            // by this explanation
	Program   Outcome        `json:"program"`             // by the program, on private copies
	Differing []string       `json:"differing,omitempty"` // what the two do not agree on
}

// Pick says how a new flow of the 5-tuple gets its backend.
type Pick struct {
	Picker     string         `json:"picker"`
	Steady     string         `json:"steady,omitempty"` // why by hash, whatever the picker
	Hash       uint64         `json:"hash"`
	Entries    int            `json:"entries"`        // of the table
	Index      int            `json:"index"`          // of the entry taken; -1: none
	Turn       bool           `json:"turn,omitempty"` // the index is the next in turn, not from the hash
	Candidates []Candidate    `json:"candidates"`     // those compared, or the one
	Backend    netip.AddrPort `json:"backend,omitzero"`
	Share      int            `json:"share"` // how many entries the backend has
}

// Candidate is one entry that a picker looked at. Weight is 0 where it does
// not count.
type Candidate struct {
	Index   int            `json:"index"`
	Backend netip.AddrPort `json:"backend"`
	Active  uint64         `json:"active"`
	Weight  uint32         `json:"weight,omitempty"`
}

// ChosenBackend is a backend as the program has it.
type ChosenBackend struct {
	ID        uint32         `json:"id"`
	Endpoint  netip.AddrPort `json:"backend"`
	Forward   Forward        `json:"forward"`
	Resolved  bool           `json:"resolved"`
	Interface int            `json:"interface,omitempty"` // index
	SrcMAC    string         `json:"src_mac,omitempty"`
	DstMAC    string         `json:"dst_mac,omitempty"`
	MTU       int            `json:"mtu,omitempty"`
	VLANs     []uint16       `json:"vlans,omitempty"` // ids of the tags that frames get, outermost first
}

// Outcome is what becomes of the packet: "sent", "drop" or "pass", and the
// counter that moves, if any.
type Outcome struct {
	Verdict string  `json:"verdict"`
	Reason  string  `json:"reason,omitempty"`
	Packet  *Packet `json:"packet,omitempty"` // as sent to the backend
	Frame   []byte  `json:"frame,omitempty"`
}

// Packet is the packet that leaves. The outer addresses are a tunnel's; only
// gue has outer ports.
type Packet struct {
	Src      netip.AddrPort `json:"src"`
	Dst      netip.AddrPort `json:"dst"`
	OuterSrc netip.AddrPort `json:"outer_src,omitzero"`
	OuterDst netip.AddrPort `json:"outer_dst,omitzero"`
	Hops     int            `json:"hops"`   // TTL or hop limit left, of the 64 it came with
	Length   int            `json:"length"` // bytes, without the Ethernet header
}

// ACLVerdict is what one list says of a source.
type ACLVerdict struct {
	VIP    *VIP         `json:"vip,omitempty"` // of the service whose own list it is; nil: that of all
	Prefix netip.Prefix `json:"prefix"`        // of the rule that counts
	Deny   bool         `json:"deny"`
}

// LimitState is how far a limit of new flows is used.
type LimitState struct {
	Limit  string  `json:"limit"`  // as in the configuration
	Rate   uint32  `json:"rate"`   // new flows a second
	Left   float64 `json:"left"`   // flows that may be opened now
	Refuse bool    `json:"refuse"` // not even this one
}
