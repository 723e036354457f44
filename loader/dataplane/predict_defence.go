package dataplane

import (
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"weir/bpf"
	"weir/loader/lb"
)

// stoppedShift makes the clock of limits stand still at 0 in a trial: one unit
// is nine years of uptime.
const stoppedShift = 58

// sourceRules are the rules of the lists that concern a source, nil without
// list.
type sourceRules struct{ all, service *lb.ACLRule }

// debts are what is owed, in units of each limit.
type debts struct {
	source  uint32
	service uint64
}

// observeDefence copies what ACLs and limits say of a packet's source.
func (d *DataPlane) observeDefence(s *situation) {
	s.rules.all = ruleFor(d.acls.all.acl, s.tuple.src)
	if s.service == nil {
		return
	}
	s.rules.service = ruleFor(d.acls.services[s.index].acl, s.tuple.src)
	now := limitNow(d.opts.LimitShift)
	hash := limitHash(s.tuple, uint32(s.index), &s.node.FlowKey)
	set, tag := flowPlace(hash, uint32(len(d.mem.sources)))
	if word, _ := copyWords(&d.mem.sources[set]).find(tag); word != 0 {
		s.owed.source = limitDebt(word, now)
	}
	s.owed.service = ceilingDebt(atomic.LoadUint64(&d.mem.ceilings[s.index]), now)
}

func ruleFor(a *lb.ACL, src netip.Addr) *lb.ACLRule {
	if a == nil {
		return nil
	}
	return ptr(a.Match(src))
}

// limitNow is limit_clock in bpf/limit.h.
func limitNow(shift uint32) uint64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail, see flowClock
	return uint64(t.Nano()) >> shift
}

// limitDebt and ceilingDebt are how they are read in bpf/limit.h.
func limitDebt(word, now uint64) uint32 {
	if debt := uint32(word) - uint32(now); word != 0 && debt <= limitDebtMax {
		return debt
	}
	return 0
}

func ceilingDebt(word, now uint64) uint64 {
	if debt := word - now<<ceilingShift; debt <= 2*ceilingSecond {
		return debt
	}
	return 0
}

// limitHash is limit_hash in bpf/limit.h.
func limitHash(t tuple, index uint32, key *[12]uint32) uint64 {
	w := words(t.src)
	if t.src.Is4() {
		return mix64(nh(key[:], index, 4) + nh(key[2:], w[3], 0))
	}
	return mix64(nh(key[:], index, 6) + nh(key[2:], w[0], w[1]))
}

// denied is acl_refuses_flow in bpf/acl.h. word: the flow's in the table.
func (s *situation) denied(e *lb.Explanation, word uint64) bool {
	ours := s.service != nil
	if b := s.backends[flowID(word)]; !ours && word != 0 {
		ours = b.Forward != 0 && addrOf(b.Vip.Word) == s.tuple.dst
	}
	if !ours {
		return false
	}
	denied := false
	note := func(vip *lb.VIP, r *lb.ACLRule) {
		if r != nil {
			e.ACL = append(e.ACL, lb.ACLVerdict{VIP: vip, Prefix: r.Prefix, Deny: r.Deny})
			denied = denied || r.Deny
		}
	}
	note(nil, s.rules.all)
	note(&s.vip, s.rules.service)
	return denied
}

// exceeds is limit_refuses in bpf/limit.h for a packet that opens a flow: the
// reason to drop it, nil if there is none.
func (s *situation) exceeds(e *lb.Explanation) (refused *bpf.WeirReason) {
	if s.tuple.proto == lb.TCP && s.ack {
		return nil
	}
	note := func(limit string, rate uint32, left float64, reason bpf.WeirReason) {
		// Somebody who owes as much as the burst but for one flow may still
		// open that.
		l := lb.LimitState{Limit: limit, Rate: rate, Left: left, Refuse: left < 1}
		e.Limits = append(e.Limits, l)
		if l.Refuse && refused == nil {
			refused = &reason
		}
	}
	if rate := s.service.SourceRate; rate > 0 {
		cost := limitSecond / rate
		debt := s.owed.source
		if debt > cost*s.service.SourceBurst {
			debt = 0
		}
		note("new_flows_per_source", rate, float64(s.service.SourceBurst)-float64(debt)/float64(cost), bpf.WeirReasonDROP_NEW_FLOWS_PER_SOURCE)
	}
	if rate := s.service.FlowRate; rate > 0 {
		cost := ceilingSecond / uint64(rate)
		left := 1 + (float64(ceilingSecond/10)-float64(s.owed.service))/float64(cost)
		note("max_new_flows", rate, left, bpf.WeirReasonDROP_MAX_NEW_FLOWS)
	}
	return refused
}

// loadDefence gives a trial lists that say of every source what the original's
// say of this one, and its debts.
func (s *situation) loadDefence(d *DataPlane) error {
	lists, raw := &d.mem.lists[0], &d.mem.services[1]
	for id, rule := range map[uint32]*lb.ACLRule{1: s.rules.all, 2: s.rules.service} {
		if rule == nil {
			continue
		}
		list, err := lb.NewACL(nil, nil, rule.Deny)
		if err != nil {
			return err
		}
		if err := (heldACL{id, list}).write(d.maps.Acl); err != nil {
			return err
		}
		if id == 1 {
			lists.All[0] = id
		} else {
			lists.Services, raw.Acl[0] = 1, id
		}
	}
	if s.owed.source > 0 {
		set, tag := flowPlace(limitHash(s.tuple, 1, &s.node.FlowKey), uint32(len(d.mem.sources)))
		d.mem.sources[set].Word[0] = uint64(tag)<<flowTagShift | uint64(s.owed.source)
	}
	d.mem.ceilings[1] = s.owed.service
	return nil
}
