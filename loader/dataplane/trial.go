package dataplane

import (
	"fmt"

	"github.com/cilium/ebpf"

	"weir/bpf"
	"weir/loader/lb"
)

// Enough for what one flow needs; see spread.
const trialFlows = 4096

// trialConfig has room for one service, and pins beside those of the original.
func (s *situation) trialConfig() lb.Config {
	c := s.config
	c.PinDir += "-explain"
	c.Interfaces, c.Least = nil, lb.Limits{}
	c.Limits = lb.Limits{
		Services: 1, Backends: uint32(len(s.backends) + 1), Flows: s.spread(),
		TableEntries: uint32(len(s.table) + len(s.members) + 2*int(arenaLine)),
	}
	return c
}

// spread is a size of the flow table that keeps apart the sets that the packet
// may touch.
func (s *situation) spread() uint32 {
	flows := uint32(trialFlows)
	for ; flows < trialFlows<<8 && s.clash(flowSets(lb.Limits{Flows: flows})); flows *= 2 {
	}
	return flows
}

func (s *situation) clash(sets uint32) bool {
	own, _ := flowPlace(s.hash, sets)
	other, _ := flowPlace(s.reverse[s.to].hash, sets)
	_, needed := s.reverse[s.to]
	return needed && own == other
}

// load makes a fresh data plane hold the situation. Ids are other ones there:
// those of backends that do not matter become one that is never used.
func (s *situation) load(d *DataPlane) error {
	ids := map[uint32]uint32{}
	for id, b := range s.backends {
		fresh := uint32(len(ids) + 1)
		ids[id], b.Service = fresh, 1
		d.mem.backends[fresh], d.mem.active[fresh] = b, s.active[id]
	}
	rename := func(w flowWords) bpf.WeirFlowSet { return renamed(w, ids, uint32(len(ids)+1)) }
	if r, needed := s.reverse[s.to]; needed {
		set, _ := flowPlace(r.hash, flowSets(d.limits))
		d.mem.flows[set] = rename(r.words)
	}
	set, _ := flowPlace(s.hash, flowSets(d.limits))
	d.mem.flows[set] = rename(s.set)
	for index, words := range s.snat {
		d.mem.snat[index] = rename(words)
	}
	for index, entry := range s.vlans {
		if err := d.maps.Vlans.Put(index, entry); err != nil {
			return fmt.Errorf("write map vlans: %w", err)
		}
	}
	if err := s.loadDefence(d); err != nil || s.service == nil {
		return err
	}
	return s.loadService(d, ids)
}

func renamed(w flowWords, ids map[uint32]uint32, other uint32) (out bpf.WeirFlowSet) {
	for i, word := range w {
		id, ok := ids[flowID(word)]
		if !ok {
			id = other
		}
		if word != 0 {
			out.Word[i] = word&^(flowIDMask<<flowIDShift) | uint64(id)<<flowIDShift
		}
	}
	return out
}

func (s *situation) loadService(d *DataPlane, ids map[uint32]uint32) error {
	arena := d.mem.arena[1:] // the empty table is before it
	arena[0] = uint32(len(s.members))
	for i, id := range s.members {
		arena[1+i] = ids[id]
	}
	table := 2 + len(s.members)
	d.mem.arena[table] = s.head
	copy(d.mem.arena[table+1:], s.table)
	raw := *s.service
	raw.Ref = 1<<32 | uint64(table)
	raw.Acl = d.mem.services[1].Acl
	d.mem.services[1] = raw
	if err := d.maps.Cursors.Put(uint32(1), s.cursor); err != nil {
		return fmt.Errorf("write map cursors: %w", err)
	}
	if err := d.maps.Vips.Put(vipKey(s.vip), uint32(1)); err != nil {
		return fmt.Errorf("write map vips: %w", err)
	}
	return nil
}

// runProbe runs a frame once through the program of a fresh data plane.
func (d *DataPlane) runProbe(in []byte) (lb.Outcome, error) {
	opts := ebpf.RunOptions{Data: in, DataOut: make([]byte, len(in)+512)}
	verdict, err := d.Program().Run(&opts)
	if err != nil {
		return lb.Outcome{}, fmt.Errorf("test run: %w", err)
	}
	out := lb.Outcome{Verdict: verdictName(verdict)}
	counts, err := d.reasons()
	if err != nil {
		return out, err
	}
	for _, c := range counts {
		if c.Packets > 0 {
			out.Reason = c.Reason
		}
	}
	if out.Verdict == "sent" {
		out.Frame = opts.DataOut
	}
	return out, nil
}

// verdictName reads enum xdp_action of linux/bpf.h.
func verdictName(v uint32) string {
	switch v {
	case 1:
		return "drop"
	case 2:
		return "pass"
	case 3, 4: // back on the interface it came from, or on another
		return "sent"
	}
	return "aborted"
}
