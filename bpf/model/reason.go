package model

import "strings"

// Reason is a counter as operators see it: the verdict and its name.
type Reason string

// Name is without the verdict.
func (r Reason) Name() string {
	_, name, _ := strings.Cut(string(r), " ")
	return name
}

// The counters.
const (
	DropMalformed     Reason = "drop malformed"
	DropFragment      Reason = "drop fragment"
	DropTTL           Reason = "drop ttl"
	DropNoBackend     Reason = "drop no_backend"
	DropNoNextHop     Reason = "drop no_next_hop"
	DropNATConflict   Reason = "drop nat_conflict"
	DropNoChecksum    Reason = "drop no_checksum"
	DropNoRoute       Reason = "drop no_route"
	DropNoForwarding  Reason = "drop no_forwarding"
	DropTooBig        Reason = "drop too_big"
	DropSNATExhausted Reason = "drop snat_exhausted"
	DropICMPUnknown   Reason = "drop icmp_unknown"
	DropExtensions    Reason = "drop extensions"
	DropACL           Reason = "drop acl"
	PassNotIP         Reason = "pass not_ip"
	PassVLAN          Reason = "pass vlan"
	PassNotVIP        Reason = "pass not_vip"
	PassMalformed     Reason = "pass malformed"
	PassLocal         Reason = "pass local"
	PassNoNeighbour   Reason = "pass no_neighbour"
	PassTooBig        Reason = "pass too_big"
	SentEchoReply     Reason = "sent echo_reply"
	SentTooBig        Reason = "sent too_big"

	DropNewFlowsPerSource Reason = "drop new_flows_per_source"
	DropMaxNewFlows       Reason = "drop max_new_flows"

	DropFragmentOverlap Reason = "drop fragment_overlap"
)
