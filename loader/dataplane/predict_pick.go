package dataplane

import (
	"weir/bpf"
	"weir/loader/lb"
)

const (
	leastMax    = int(bpf.WeirConstantLEAST_MAX)
	entrySlot   = uint32(bpf.WeirConstantENTRY_SLOT)
	weightShift = uint32(bpf.WeirConstantENTRY_WEIGHT_SHIFT)
)

var pickerNames = [...]string{
	bpf.WeirPickerPICK_HASH:   "hash",
	bpf.WeirPickerPICK_CURSOR: "turn",
	bpf.WeirPickerPICK_LEAST:  "least of all",
	bpf.WeirPickerPICK_TWO:    "least of two",
}

// pick is pick in bpf/pick.h; steady says why the hash decides, if so. The id is 0 if no backend takes new flows.
func (s *situation) pick(steady string) (*lb.Pick, uint32) {
	picker := bpf.WeirPicker(s.head >> pickerShift)
	hash := s.tuple.hash(ptr(pickKey(s.config.Seed)))
	p := &lb.Pick{Hash: hash, Entries: len(s.table), Index: -1, Candidates: []lb.Candidate{}, Steady: steady}
	if int(picker) < len(pickerNames) {
		p.Picker = pickerNames[picker]
	}
	if len(s.table) == 0 {
		return p, 0
	}
	if p.Steady != "" {
		picker = bpf.WeirPickerPICK_HASH
	}
	switch picker {
	case bpf.WeirPickerPICK_LEAST:
		p.Index = s.leastOfAll(p, hash)
	case bpf.WeirPickerPICK_TWO:
		p.Index = s.leastOfTwo(p, hash)
	case bpf.WeirPickerPICK_CURSOR:
		p.Index, p.Turn = int(uint32(s.cursor)%uint32(len(s.table))), true
		s.consider(p, p.Index)
	default:
		p.Index = scale(hash>>32, len(s.table))
		s.consider(p, p.Index)
	}
	id := s.idAt(p.Index)
	p.Backend, p.Share = endpointOf(s.backends[id]), s.share(p.Index)
	return p, id
}

func ptr[T any](v T) *T { return &v }

// scale maps 32 bits of hash to an index below n.
func scale(hash uint64, n int) int { return int((hash & 0xffffffff) * uint64(n) >> 32) }

// steady says why a flow that is not stored or was not seen from its start is
// picked by hash, "" if it is not.
func (s *situation) steady() string {
	rank, _ := s.victim(s.set, tagOf(s.hash))
	switch {
	case rank <= rankEmbryonic:
		return "the flow table has no free slot for it"
	case s.tuple.proto == lb.TCP && s.ack:
		return "its start was not seen"
	}
	return ""
}

func (s *situation) idAt(index int) uint32 {
	slot := s.table[index] & entrySlot
	if int(slot) >= len(s.members) {
		return 0
	}
	return s.members[slot]
}

// share counts the entries that have the backend of one.
func (s *situation) share(index int) (n int) {
	for _, entry := range s.table {
		if entry&entrySlot == s.table[index]&entrySlot {
			n++
		}
	}
	return n
}

// consider notes an entry as a candidate and returns it.
func (s *situation) consider(p *lb.Pick, index int) lb.Candidate {
	id := s.idAt(index)
	c := lb.Candidate{
		Index: index, Backend: endpointOf(s.backends[id]), Active: s.active[id],
		Weight: s.table[index] >> weightShift,
	}
	p.Candidates = append(p.Candidates, c)
	return c
}

// less reports whether a has fewer flows for its weight.
func less(a, b lb.Candidate) bool {
	return a.Active*uint64(b.Weight) < b.Active*uint64(a.Weight)
}

// leastOfAll is pick_least in bpf/pick.h.
func (s *situation) leastOfAll(p *lb.Pick, draw uint64) int {
	var equals []lb.Candidate
	var weights uint64
	for i := range min(leastMax, len(s.table)) {
		c := s.consider(p, i)
		if i > 0 && less(equals[0], c) {
			continue
		}
		if i == 0 || less(c, equals[0]) {
			equals, weights = equals[:0], 0
		}
		equals, weights = append(equals, c), weights+uint64(c.Weight)
	}
	drawn := (draw >> 32) * weights >> 32
	for len(equals) > 1 && drawn >= uint64(equals[0].Weight) {
		drawn -= uint64(equals[0].Weight)
		equals = equals[1:]
	}
	return equals[0].Index
}

// leastOfTwo is pick_two in bpf/pick.h.
func (s *situation) leastOfTwo(p *lb.Pick, hash uint64) int {
	a := s.consider(p, scale(hash>>32, len(s.table)))
	b := s.consider(p, scale(hash, len(s.table)))
	if less(b, a) {
		return b.Index
	}
	return a.Index
}
