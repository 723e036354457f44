package dataplane

import (
	"net/netip"
	"slices"

	"weir/bpf"
)

const (
	snatFirstPort = uint32(bpf.WeirConstantSNAT_FIRST_PORT)
	snatPorts     = uint32(bpf.WeirConstantSNAT_PORTS)
)

// snatRehash is snat_rehash in bpf/snat.h.
func snatRehash(hash uint64) uint64 {
	return mix64(hash)&^0xffffffff | hash&0xffffffff
}

// snatSet is snat_set_index in bpf/snat.h; false if there are no addresses of
// the packet's family.
func (s *situation) snatSet(hash uint64) (uint32, bool) {
	const setsOfAddress = int(snatPorts / flowSlots)
	first, count := uint32(0), len(s.config.SNAT.Source4)
	if s.tuple.src.Is6() {
		first, count = uint32(count*setsOfAddress), len(s.config.SNAT.Source6)
	}
	return first + uint32(scale(hash>>32, count*setsOfAddress)), count > 0
}

// snatSource is snat_pair in bpf/snat.h: the address and port that the flow has
// or would get; false if all that it may have are in use.
func (s *situation) snatSource(id uint32) (netip.AddrPort, bool) {
	if _, ok := s.snatSet(s.hash); !ok {
		return netip.AddrPort{}, false
	}
	other := snatRehash(s.hash)
	for _, hash := range []uint64{s.hash, other} {
		index, _ := s.snatSet(hash)
		if word, slot := s.snat[index].find(tagOf(hash)); word != 0 && flowID(word) == id {
			return s.snatPair(index, slot), true
		}
	}
	rank, index, slot := s.snatVictim(s.hash)
	if r, i, at := s.snatVictim(other); rank < rankEmpty && r > rank {
		rank, index, slot = r, i, at
	}
	return s.snatPair(index, slot), rank != rankLive
}

func (s *situation) snatVictim(hash uint64) (rank, index uint32, slot int) {
	index, _ = s.snatSet(hash)
	rank, slot = s.victim(s.snat[index], tagOf(hash))
	return rank, index, slot
}

// snatPair is pair_address in bpf/snat.h.
func (s *situation) snatPair(set uint32, slot int) netip.AddrPort {
	pair := set*flowSlots + uint32(slot)
	all := slices.Concat(s.config.SNAT.Source4, s.config.SNAT.Source6)
	return netip.AddrPortFrom(all[pair/snatPorts], uint16(snatFirstPort+pair%snatPorts))
}
