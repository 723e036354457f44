package dataplane

import (
	"fmt"
	"net/netip"

	"weir/bpf"
	"weir/loader/lb"
)

// registry is what the maps hold, in Go's words. It is rebuilt from the maps
// when they are adopted.
type registry struct {
	services map[lb.VIP]*service
	indexes  map[uint16]*service // by index, those removed and not yet free included
	backends map[uint32]*backend // by id
	retired  map[uint32]*backend // those of them that only finish their flows
	leaving  map[uint32]*backend // those of them that were when the Sweep under way began
	freeSvc  idPool
	freeID   idPool
	arena    *arena
}

// service is one entry of the map services.
type service struct {
	index   uint16
	vip     lb.VIP
	forward lb.Forward
	table   uint32 // arena offsets
	members uint32
	ids     map[backendKey]uint32
	removed bool
	round   uint64 // the last Apply that named it

	// What was published last by this process, if anything was.
	published bool
	slots     []uint32
	backends  []lb.BackendState
	quic      lb.QUIC
}

// backendKey tells the backends of one service apart. Another forwarding mode
// is another backend: flows keep the mode they began with.
type backendKey struct {
	endpoint netip.AddrPort
	forward  lb.Forward
}

// backend is one entry of the map backends.
type backend struct {
	id      uint32
	key     backendKey
	service *service
	hop     lb.NextHop
	retired bool

	serverID string // of QUIC; unknown of those that an earlier loader retired
}

// idPool hands out the smallest free number from 1 to max.
type idPool struct {
	used []bool
	next uint32 // none below is free
	left uint32
}

func newIDPool(max uint32) idPool {
	return idPool{used: make([]bool, max+1), next: 1, left: max}
}

func (p *idPool) take() (uint32, bool) {
	for ; p.next < uint32(len(p.used)); p.next++ {
		if !p.used[p.next] {
			p.hold(p.next)
			return p.next, true
		}
	}
	return 0, false
}

func (p *idPool) hold(id uint32) {
	if !p.used[id] {
		p.used[id] = true
		p.left--
	}
}

func (p *idPool) give(id uint32) {
	p.used[id] = false
	p.left++
	p.next = min(p.next, id)
}

// readRegistry learns from the maps what an earlier loader left, also one that
// was killed half way: what nothing refers to is retired and will be swept.
func readRegistry(maps *bpf.WeirMaps, mem *memory) (*registry, error) {
	r := &registry{
		services: map[lb.VIP]*service{},
		indexes:  map[uint16]*service{},
		backends: map[uint32]*backend{},
		retired:  map[uint32]*backend{},
		freeSvc:  newIDPool(uint32(len(mem.services)) - 1),
		freeID:   newIDPool(uint32(len(mem.backends)) - 1),
	}
	var key bpf.WeirVipKey
	var index uint32
	it := maps.Vips.Iterate()
	for it.Next(&key, &index) {
		if key.Pad == 0 {
			r.readService(mem, uint16(index))
		}
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read pinned map vips: %w", err)
	}
	r.arena = newArena(mem.arena, r.regions())
	for id := range mem.backends {
		if b := &mem.backends[id]; b.Forward != 0 {
			r.readBackend(b, uint32(id))
		}
	}
	r.adoptMembers()
	return r, nil
}

func (r *registry) readService(mem *memory, index uint16) {
	raw := &mem.services[index]
	s := &service{
		index:   index,
		vip:     lb.VIP{Addr: addrOf(raw.Vip.Word), Port: wirePort(raw.Port), Proto: lb.Proto(raw.Proto)},
		forward: lb.Forward(raw.Forward),
		table:   uint32(raw.Ref),
		members: uint32(raw.Ref >> 32),
		ids:     map[backendKey]uint32{},
	}
	r.services[s.vip] = s
	r.indexes[index] = s
	r.freeSvc.hold(uint32(index))
}

// regions are what the services hold of the arena, once for each reference.
func (r *registry) regions() []uint32 {
	all := make([]uint32, 0, 2*len(r.services))
	for _, s := range r.services {
		all = append(all, s.table, s.members)
	}
	return all
}

func (r *registry) readBackend(raw *bpf.WeirBackend, id uint32) {
	s := r.indexes[raw.Service]
	vip := lb.VIP{Addr: addrOf(raw.Vip.Word), Port: wirePort(raw.VipPort), Proto: lb.Proto(raw.Proto)}
	if s == nil || s.vip != vip {
		// Its service is gone: kept only until its flows end.
		s = &service{index: raw.Service, vip: vip, removed: true, ids: map[backendKey]uint32{}}
		if r.indexes[raw.Service] == nil {
			r.indexes[raw.Service] = s
			r.freeSvc.hold(uint32(raw.Service))
			r.arena.hold(s.table)
			r.arena.hold(s.members)
		}
	}
	b := &backend{
		id:      id,
		key:     backendKey{netip.AddrPortFrom(addrOf(raw.Addr.Word), wirePort(raw.Port)), lb.Forward(raw.Forward)},
		service: s,
		hop:     lb.NextHop{IfIndex: int(raw.Ifindex), SrcMAC: raw.SrcMac, DstMAC: raw.DstMac, MTU: int(raw.Mtu)},
	}
	r.backends[id], s.ids[b.key] = b, id
	r.retire(id)
	r.freeID.hold(id)
}

// retire marks a backend that takes no more flows.
func (r *registry) retire(id uint32) {
	if b := r.backends[id]; b != nil {
		b.retired, r.retired[id] = true, b
	}
}

// revive undoes retire for the backends of a member list.
func (r *registry) revive(members uint32) {
	for _, id := range r.arena.region(members) {
		if b := r.retired[id]; b != nil {
			b.retired = false
			delete(r.retired, id)
			delete(r.leaving, id)
		}
	}
}

// adoptMembers revives the backends that a member list names.
func (r *registry) adoptMembers() {
	for _, s := range r.services {
		for _, id := range r.arena.region(s.members) {
			if b := r.backends[id]; b != nil && b.service == s {
				s.ids[b.key] = id
			}
		}
		r.revive(s.members)
	}
}

func (r *registry) hasNAT() bool {
	for _, b := range r.backends {
		if b.key.forward.Translates() {
			return true
		}
	}
	return false
}
