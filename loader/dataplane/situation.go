package dataplane

import (
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"weir/bpf"
	"weir/loader/lb"
)

// situation is all that the verdict about one packet depends on, as it was at
// one moment: Explain predicts from it and loads it into a second program.
type situation struct {
	tuple  tuple
	ack    bool
	node   bpf.WeirNode
	config lb.Config
	features
	idle    [flowStates]uint16
	clock   flowClock
	now     uint32
	hash    uint64 // by the flow table's key
	vip     lb.VIP
	service *bpf.WeirService // nil: none matches
	index   uint16           // of the service
	cursor  uint64
	head    uint32 // of the table
	table   []uint32
	members []uint32 // ids

	backends map[uint32]bpf.WeirBackend // members and the flow's
	active   map[uint32]uint64
	set      flowWords
	reverse  map[uint32]reverseSet // by id of those that need one
	snat     map[uint32]flowWords  // by index of the set
	vlans    map[uint32]bpf.WeirVlan
	to       uint32 // the backend predicted, 0: none

	rules sourceRules
	owed  debts
}

type flowWords [flowSlots]uint64

// reverseSet is where the reply direction of the flow would be stored.
type reverseSet struct {
	hash  uint64
	words flowWords
}

// observe copies what matters for a packet.
func (d *DataPlane) observe(p lb.Probe) (*situation, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &situation{
		tuple: tupleOf(p.FlowKey), ack: p.Ack, config: d.config, features: d.features, idle: d.idle,
		clock: d.clock, now: d.clock.now(),
		backends: map[uint32]bpf.WeirBackend{}, active: map[uint32]uint64{},
		reverse: map[uint32]reverseSet{}, snat: map[uint32]flowWords{},
	}
	if err := d.maps.Meta.Lookup(uint32(0), &s.node); err != nil {
		return nil, fmt.Errorf("read map meta: %w", err)
	}
	s.hash = s.tuple.hash(&s.node.FlowKey)
	s.set = d.flowSet(s.hash, s.node.FlowSets)
	if err := d.observeService(s, p.Dst, p.Proto); err != nil {
		return nil, err
	}
	for _, id := range s.members {
		d.observeBackend(s, id)
	}
	if word, _ := s.set.find(tagOf(s.hash)); word != 0 {
		d.observeBackend(s, flowID(word))
	}
	d.observeSNAT(s)
	d.observeDefence(s)
	var err error
	s.vlans, err = d.pinnedVLANs()
	return s, err
}

func tupleOf(k lb.FlowKey) tuple {
	return tuple{src: k.Src.Addr(), dst: k.Dst.Addr(), sport: k.Src.Port(), dport: k.Dst.Port(), proto: k.Proto}
}

func tagOf(hash uint64) uint32 {
	_, tag := flowPlace(hash, 1)
	return tag
}

func (d *DataPlane) flowSet(hash uint64, sets uint32) flowWords {
	set, _ := flowPlace(hash, sets)
	return copyWords(&d.mem.flows[set])
}

func copyWords(set *bpf.WeirFlowSet) (w flowWords) {
	for i := range w {
		w[i] = atomic.LoadUint64(&set.Word[i])
	}
	return w
}

// observeService is service_find in bpf/service.h.
func (d *DataPlane) observeService(s *situation, dst netip.AddrPort, proto lb.Proto) error {
	for _, port := range []uint16{dst.Port(), 0} {
		vip := lb.VIP{Addr: dst.Addr(), Port: port, Proto: proto}
		found := d.registry.services[vip]
		if found == nil || found.removed {
			continue
		}
		raw := d.mem.services[found.index]
		s.vip, s.service, s.index = vip, &raw, found.index
		s.head = d.mem.arena[found.table]
		s.table = slices.Clone(d.registry.arena.region(found.table))
		s.members = slices.Clone(d.registry.arena.region(found.members))
		if err := d.maps.Cursors.Lookup(uint32(found.index), &s.cursor); err != nil {
			return fmt.Errorf("read map cursors: %w", err)
		}
		return nil
	}
	return nil
}

func (d *DataPlane) observeBackend(s *situation, id uint32) {
	if id >= uint32(len(d.mem.backends)) {
		return
	}
	raw := d.mem.backends[id]
	s.backends[id] = raw
	s.active[id] = atomic.LoadUint64(&d.mem.active[id])
	if raw.Flags&sharedFlag != 0 {
		hash := s.replies(raw).hash(&s.node.FlowKey)
		s.reverse[id] = reverseSet{hash, d.flowSet(hash, s.node.FlowSets)}
	}
}

// replies is tuple_reply in bpf/track.h.
func (s *situation) replies(b bpf.WeirBackend) tuple {
	r := tuple{src: addrOf(b.Addr.Word), sport: wirePort(b.Port), dst: s.tuple.src, dport: s.tuple.sport, proto: s.tuple.proto}
	if r.sport == 0 {
		r.sport = s.tuple.dport
	}
	return r
}

func (d *DataPlane) observeSNAT(s *situation) {
	for _, hash := range []uint64{s.hash, snatRehash(s.hash)} {
		if index, ok := s.snatSet(hash); ok {
			s.snat[index] = copyWords(&d.mem.snat[index])
		}
	}
}
