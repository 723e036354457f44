package dataplane

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/bpf"
	"weir/loader/lb"
)

// reasonNames are the counters' names: the enum's, in lower case, without the
// verdict.
var reasonNames = [...]string{
	bpf.WeirReasonDROP_MALFORMED:      "malformed",
	bpf.WeirReasonDROP_FRAGMENT:       "fragment",
	bpf.WeirReasonDROP_TTL:            "ttl",
	bpf.WeirReasonDROP_NO_BACKEND:     "no_backend",
	bpf.WeirReasonDROP_NO_NEXT_HOP:    "no_next_hop",
	bpf.WeirReasonDROP_NAT_CONFLICT:   "nat_conflict",
	bpf.WeirReasonDROP_NO_CHECKSUM:    "no_checksum",
	bpf.WeirReasonDROP_NO_ROUTE:       "no_route",
	bpf.WeirReasonDROP_NO_FORWARDING:  "no_forwarding",
	bpf.WeirReasonDROP_TOO_BIG:        "too_big",
	bpf.WeirReasonDROP_SNAT_EXHAUSTED: "snat_exhausted",
	bpf.WeirReasonDROP_ICMP_UNKNOWN:   "icmp_unknown",
	bpf.WeirReasonDROP_EXTENSIONS:     "extensions",
	bpf.WeirReasonDROP_ACL:            "acl",
	bpf.WeirReasonDROP_INTERNAL:       "internal",

	bpf.WeirReasonDROP_FRAGMENT_OVERLAP:     "fragment_overlap",
	bpf.WeirReasonDROP_NEW_FLOWS_PER_SOURCE: "new_flows_per_source",
	bpf.WeirReasonDROP_MAX_NEW_FLOWS:        "max_new_flows",

	bpf.WeirReasonPASS_NOT_IP:       "not_ip",
	bpf.WeirReasonPASS_VLAN:         "vlan",
	bpf.WeirReasonPASS_NOT_VIP:      "not_vip",
	bpf.WeirReasonPASS_MALFORMED:    "malformed",
	bpf.WeirReasonPASS_LOCAL:        "local",
	bpf.WeirReasonPASS_NO_NEIGHBOUR: "no_neighbour",
	bpf.WeirReasonPASS_TOO_BIG:      "too_big",
	bpf.WeirReasonSENT_ECHO_REPLY:   "echo_reply",
	bpf.WeirReasonSENT_TOO_BIG:      "too_big",
}

const (
	firstPass = bpf.WeirReasonPASS_NOT_IP
	firstSent = bpf.WeirReasonSENT_ECHO_REPLY
)

// verdictOf is what happened to the packets that a reason counts.
func verdictOf(r bpf.WeirReason) string {
	switch {
	case r >= firstSent:
		return "sent"
	case r >= firstPass:
		return "pass"
	}
	return "drop"
}

// Counters reads all counters. Backends are in the order of their ids.
func (d *DataPlane) Counters() (lb.Counters, error) {
	out := lb.Counters{Backends: d.backendCounters()}
	slices.SortFunc(out.Backends, func(a, b lb.BackendCounters) int { return cmp.Compare(a.ID, b.ID) })
	out.Services = d.serviceCounters()
	var err error
	out.Reasons, err = d.reasons()
	return out, err
}

func (d *DataPlane) backendCounters() []lb.BackendCounters {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]lb.BackendCounters, 0, len(d.registry.backends))
	for _, b := range d.registry.backends {
		all = append(all, d.countersOf(b))
	}
	return all
}

// BackendCounters reads those of the backends of these VIPs only, in any
// order.
func (d *DataPlane) BackendCounters(vips []lb.VIP) []lb.BackendCounters {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []lb.BackendCounters
	for _, vip := range vips {
		s := d.registry.services[vip]
		if s == nil {
			continue
		}
		for _, id := range s.ids {
			if b := d.registry.backends[id]; b != nil {
				all = append(all, d.countersOf(b))
			}
		}
	}
	return all
}

func (d *DataPlane) countersOf(b *backend) lb.BackendCounters {
	c := lb.BackendCounters{
		VIP: b.service.vip, Endpoint: b.key.endpoint, ID: b.id, Retired: b.retired,
		Active: atomic.LoadUint64(&d.mem.active[b.id]),
	}
	for row := int(b.id); row < len(d.mem.stats); row += len(d.mem.backends) {
		s := &d.mem.stats[row]
		c.Flows += atomic.LoadUint64(&s.Flows)
		c.Unstored += atomic.LoadUint64(&s.Unstored)
		c.Packets += atomic.LoadUint64(&s.Packets)
		c.Bytes += atomic.LoadUint64(&s.Bytes)
		c.ReplyPackets += atomic.LoadUint64(&s.ReplyPackets)
		c.ReplyBytes += atomic.LoadUint64(&s.ReplyBytes)
	}
	return c
}

func (d *DataPlane) reasons() ([]lb.ReasonCount, error) {
	var out []lb.ReasonCount
	for reason, name := range reasonNames {
		var perCPU []uint64
		if err := d.maps.Reasons.Lookup(uint32(reason), &perCPU); err != nil {
			return nil, fmt.Errorf("read map reasons: %w", err)
		}
		c := lb.ReasonCount{Reason: name, Verdict: verdictOf(bpf.WeirReason(reason))}
		for _, n := range perCPU {
			c.Packets += n
		}
		out = append(out, c)
	}
	return out, nil
}

// owner is what a flow word's id stands for.
type owner struct {
	vip      lb.VIP
	endpoint netip.AddrPort
}

// owner is zero for an id that is not in use.
func (d *DataPlane) owner(id uint32) owner {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b := d.registry.backends[id]; b != nil {
		return owner{b.service.vip, b.key.endpoint}
	}
	return owner{}
}

func (d *DataPlane) owners() map[uint32]owner {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[uint32]owner, len(d.registry.backends))
	for id, b := range d.registry.backends {
		out[id] = owner{b.service.vip, b.key.endpoint}
	}
	return out
}

// Flows calls yield for each used slot of the flow table until it returns
// false. Traffic goes on meanwhile: it is not a snapshot of one instant.
func (d *DataPlane) Flows(yield func(lb.Flow) bool) error {
	owners := d.owners()
	now := d.clock.now()
	for set := range d.mem.flows {
		for slot := range d.mem.flows[set].Word {
			word := atomic.LoadUint64(&d.mem.flows[set].Word[slot])
			if word != 0 && !yield(d.flow(uint32(set), slot, word, now, owners[flowID(word)])) {
				return nil
			}
		}
	}
	return nil
}

func (d *DataPlane) flow(set uint32, slot int, word uint64, now uint32, o owner) lb.Flow {
	return lb.Flow{
		Set: set, Slot: uint8(slot), Tag: uint32(word >> flowTagShift),
		State: stateNames[flowState(word)],
		Idle:  d.clock.duration(d.clock.age(word, now)),
		VIP:   o.vip, Endpoint: o.endpoint, ID: flowID(word),
	}
}

// FindFlow looks one 5-tuple up, as the program would.
func (d *DataPlane) FindFlow(k lb.FlowKey) (lb.Flow, bool, error) {
	var node bpf.WeirNode
	if err := d.maps.Meta.Lookup(uint32(0), &node); err != nil {
		return lb.Flow{}, false, fmt.Errorf("read map meta: %w", err)
	}
	t := tuple{src: k.Src.Addr(), dst: k.Dst.Addr(), sport: k.Src.Port(), dport: k.Dst.Port(), proto: k.Proto}
	if t.src.Is4() != t.dst.Is4() {
		return lb.Flow{}, false, fmt.Errorf("%s and %s are of different families", k.Src, k.Dst)
	}
	set, tag := flowPlace(t.hash(&node.FlowKey), node.FlowSets)
	for slot := range d.mem.flows[set].Word {
		word := atomic.LoadUint64(&d.mem.flows[set].Word[slot])
		if word != 0 && uint32(word>>flowTagShift) == tag {
			return d.flow(set, slot, word, d.clock.now(), d.owner(flowID(word))), true, nil
		}
	}
	return lb.Flow{}, false, nil
}

// Info describes what is loaded.
func (d *DataPlane) Info() lb.DataPlaneInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	info := lb.DataPlaneInfo{PinDir: d.config.PinDir, Adopted: d.adopted, Layout: layout}
	for name, a := range d.links {
		info.Attachments = append(info.Attachments, describe(name, a.link))
	}
	sort.Slice(info.Attachments, func(i, j int) bool {
		return info.Attachments[i].Interface < info.Attachments[j].Interface
	})
	for name, m := range mapsByName(&d.maps) {
		mi := lb.MapInfo{Name: name}
		if i, err := m.Info(); err == nil {
			id, _ := i.ID()
			mi.ID = uint32(id)
			mi.Bytes, _ = i.Memlock()
		}
		info.Maps = append(info.Maps, mi)
	}
	sort.Slice(info.Maps, func(i, j int) bool { return info.Maps[i].Name < info.Maps[j].Name })
	return info
}

func describe(name string, l link.Link) lb.Attachment {
	a := lb.Attachment{Interface: name, Mode: "detached"}
	info, err := l.Info()
	if err != nil {
		return a
	}
	a.LinkID, a.ProgramID = uint32(info.ID), uint32(info.Program)
	iface, err := netlink.LinkByName(name)
	if err != nil || iface.Attrs().Xdp == nil || !iface.Attrs().Xdp.Attached {
		return a
	}
	switch iface.Attrs().Xdp.AttachMode {
	case unix.XDP_FLAGS_DRV_MODE >> 2:
		a.Mode = "native"
	case 2: // XDP_ATTACHED_SKB
		a.Mode = "generic"
	default:
		a.Mode = "other"
	}
	return a
}
