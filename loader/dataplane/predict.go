package dataplane

import (
	"net/netip"

	"weir/bpf"
	"weir/loader/lb"
)

// The ranks of bpf/flow.h.
const (
	rankLive      = 0
	rankEmbryonic = 1
	rankEnded     = 2
	rankIdle      = 4
	rankEmpty     = 6
	rankSame      = 7

	endedAge = 2 // ENDED_AGE
)

// find is flow_find in bpf/flow.h.
func (w flowWords) find(tag uint32) (word uint64, slot int) {
	for i, word := range w {
		if uint32(word>>flowTagShift) == tag {
			return word, i
		}
	}
	return 0, 0
}

func finished(word uint64) bool {
	state := bpf.WeirFlowState(flowState(word))
	return state == bpf.WeirFlowStateFLOW_CLOSING || state == bpf.WeirFlowStateFLOW_CLOSED
}

// victim is flow_victim in bpf/flow.h.
func (s *situation) victim(w flowWords, tag uint32) (rank uint32, slot int) {
	var best uint32
	for i, word := range w {
		r := s.rank(word, tag)
		near := flowSlots - 1 - (uint32(i)^tag)%flowSlots // to the preferred slot
		if score := r<<16 | s.clock.age(word, s.now)<<4 | near; score >= best {
			best, rank, slot = score, r, i
		}
	}
	return rank, slot
}

func (s *situation) rank(word uint64, tag uint32) uint32 {
	if uint32(word>>flowTagShift) == tag {
		return rankSame
	}
	rank := s.rankOfState(word)
	if s.tooOld(word) {
		rank |= rankIdle
	}
	return rank
}

func (s *situation) rankOfState(word uint64) uint32 {
	switch bpf.WeirFlowState(flowState(word)) {
	case bpf.WeirFlowStateFLOW_EMPTY:
		return rankEmpty
	case bpf.WeirFlowStateFLOW_CLOSED:
		return rankEnded
	case bpf.WeirFlowStateFLOW_EMBRYONIC:
		return rankEmbryonic
	case bpf.WeirFlowStateFLOW_CLOSING:
		if s.clock.age(word, s.now) > endedAge {
			return rankEnded
		}
	}
	return rankLive
}

func (s *situation) tooOld(word uint64) bool {
	return s.clock.age(word, s.now) > uint32(s.idle[flowState(word)])
}

// opens tells whether the packet is a connection's first.
func (s *situation) opens() bool { return s.tuple.proto == lb.TCP && !s.ack }

// hit is track_hit in bpf/track.h: the backend of a flow that is known.
func (s *situation) hit(word uint64) (uint32, bool) {
	id := flowID(word)
	b := s.backends[id]
	if word == 0 || b.Forward == 0 || finished(word) && s.opens() {
		return 0, false
	}
	if addrOf(b.Vip.Word) != s.tuple.dst || b.VipPort != 0 && wirePort(b.VipPort) != s.tuple.dport {
		return 0, false // the reply direction of a flow, or chance
	}
	return id, true
}

// predict fills in what the packet meets, from the flow table to the wire.
func (s *situation) predict(e *lb.Explanation) {
	word, slot := s.set.find(tagOf(s.hash))
	if s.service != nil {
		e.VIP, e.EveryPort = &s.vip, s.vip.Port == 0
	}
	id, known := s.hit(word)
	if word != 0 {
		e.Flow, e.Reopens = s.flow(word, slot), !known
	}
	if s.denied(e, word) {
		e.Expected = outcome(bpf.WeirReasonDROP_ACL)
		return
	}
	picked, outcome := s.assign(e, known)
	if !known {
		if picked == 0 {
			e.Expected = outcome
			return
		}
		id = picked
	}
	s.predictForward(e, id, known)
}

func (s *situation) flow(word uint64, slot int) *lb.Flow {
	set, _ := flowPlace(s.hash, s.node.FlowSets)
	b := s.backends[flowID(word)]
	return &lb.Flow{
		Set: set, Slot: uint8(slot), Tag: tagOf(s.hash), State: stateNames[flowState(word)],
		Idle: s.clock.duration(s.clock.age(word, s.now)), ID: flowID(word), Endpoint: endpointOf(b),
		VIP: lb.VIP{Addr: addrOf(b.Vip.Word), Port: wirePort(b.VipPort), Proto: lb.Proto(b.Proto)},
	}
}

func endpointOf(b bpf.WeirBackend) netip.AddrPort {
	return netip.AddrPortFrom(addrOf(b.Addr.Word), wirePort(b.Port))
}

// assign is track_open in bpf/track.h up to the choice: the backend of a new
// flow, or what else becomes of its packet.
func (s *situation) assign(e *lb.Explanation, known bool) (uint32, lb.Outcome) {
	if s.service == nil {
		return 0, outcome(bpf.WeirReasonPASS_NOT_VIP)
	}
	if !known {
		if refused := s.exceeds(e); refused != nil {
			return 0, outcome(*refused)
		}
	}
	switch {
	case lb.Forward(s.service.Forward) == lb.L7:
		return 0, outcome(bpf.WeirReasonPASS_LOCAL)
	}
	steady := ""
	if !known {
		steady = s.steady()
	}
	var id uint32
	if e.Pick, id = s.pick(steady); id == 0 {
		return 0, outcome(bpf.WeirReasonDROP_NO_BACKEND)
	}
	return id, lb.Outcome{}
}

func outcome(r bpf.WeirReason) lb.Outcome {
	return lb.Outcome{Verdict: verdictOf(r), Reason: reasonNames[r]}
}

// predictForward is forward in bpf/forward.h, and track_reverse before it.
func (s *situation) predictForward(e *lb.Explanation, id uint32, known bool) {
	b := s.backends[id]
	s.to, e.Backend = id, s.chosen(id, b)
	if !known && s.conflicts(id) {
		e.Expected = outcome(bpf.WeirReasonDROP_NAT_CONFLICT)
		return
	}
	if b.Ifindex == 0 {
		e.Expected = outcome(bpf.WeirReasonDROP_NO_NEXT_HOP)
		return
	}
	e.Expected = s.leave(id, b)
}

// conflicts is track_reverse in bpf/track.h.
func (s *situation) conflicts(id uint32) bool {
	r, shared := s.reverse[id]
	if !shared {
		return false
	}
	word, _ := r.words.find(tagOf(r.hash))
	if word != 0 && !finished(word) && s.clock.age(word, s.now) <= uint32(s.idle[bpf.WeirFlowStateFLOW_REVERSE]) {
		return flowID(word) != id
	}
	rank, _ := s.victim(r.words, tagOf(r.hash))
	return rank == rankLive
}
