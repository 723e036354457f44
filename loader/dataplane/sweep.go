package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weir/bpf"
	"weir/loader/lb"
)

// stateNames are the flow states as people see them.
var stateNames = [flowStates]string{
	bpf.WeirFlowStateFLOW_EMBRYONIC:   "embryonic",
	bpf.WeirFlowStateFLOW_ESTABLISHED: "established",
	bpf.WeirFlowStateFLOW_STREAM:      "stream",
	bpf.WeirFlowStateFLOW_CLOSING:     "closing",
	bpf.WeirFlowStateFLOW_CLOSED:      "closed",
	bpf.WeirFlowStateFLOW_REVERSE:     "reverse",
}

// counted is what a flow in a state adds to its backend's active flows.
func counted(state uint32) uint64 {
	if state >= uint32(bpf.WeirFlowStateFLOW_EMBRYONIC) && state <= uint32(bpf.WeirFlowStateFLOW_STREAM) {
		return 1
	}
	return 0
}

// Sweep expires idle flows by compare-and-swap, so it never disturbs a packet,
// and frees retired backends that no flow refers to. Changes need not wait for
// the look at the tables, only for another Sweep's.
func (d *DataPlane) Sweep() (lb.FlowUse, error) {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	pass, err := d.beginSweep()
	if err != nil {
		return lb.FlowUse{}, err
	}
	found := pass.scan()
	use := lb.FlowUse{
		Slots:   uint64(len(d.mem.flows)) * uint64(flowSlots),
		ByState: map[string]uint64{},
		Expired: found.expired,
	}
	use.SNATSlots, use.SNATUsed = pass.scanSNAT(found.refs)
	pass.scanFragments(found.refs)
	pass.scanSources()
	for state, n := range found.states {
		if n > 0 {
			use.ByState[stateNames[state]] = n
		}
	}
	use.Troubled = d.troubled(found)
	return use, d.endSweep(found)
}

// beginSweep notes which backends are retired: only these can be freed, as only
// they get no flow while the tables are looked at.
func (d *DataPlane) beginSweep() (*pass, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.reclaim(); err != nil {
		return nil, err
	}
	d.watch()
	d.registry.leaving = maps.Clone(d.registry.retired)
	return &pass{
		mem: &d.mem, clock: d.clock, idle: d.idle, limitShift: d.opts.LimitShift,
		snat: snatSets(d.config.SNAT) > 0, sources: d.features.limits,
	}, nil
}

// endSweep waits out, before it frees backends, the programs that may have
// removed a backend's last flow and not counted it yet.
func (d *DataPlane) endSweep(f found) error {
	d.mu.Lock()
	d.audit(f)
	maps.DeleteFunc(d.registry.leaving, func(id uint32, _ *backend) bool { return f.refs[id] })
	leaving := len(d.registry.leaving)
	d.mu.Unlock()
	if leaving > 0 {
		if err := grace(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.freeRetired()
}

// pass is one look at the tables, which needs no lock: words are changed by
// compare-and-swap.
type pass struct {
	mem           *memory
	clock         flowClock
	idle          [flowStates]uint16
	limitShift    uint32
	snat, sources bool // in use
}

// found is what a pass over the flow table saw, by state and by backend id.
type found struct {
	expired uint64
	states  [flowStates]uint64
	refs    []bool   // some word names the backend
	live    []uint64 // flows that count as active
	ended   []uint64 // those that expired
	trouble trouble
}

func (p *pass) scan() found {
	n := len(p.mem.backends)
	f := found{refs: make([]bool, n), live: make([]uint64, n), ended: make([]uint64, n), trouble: newTrouble(n)}
	now := p.clock.now()
	for i := range p.mem.flows {
		for j := range p.mem.flows[i].Word {
			at := &p.mem.flows[i].Word[j]
			word := atomic.LoadUint64(at)
			if word == 0 {
				continue
			}
			state, id := flowState(word), flowID(word)
			if p.expire(at, word, now) {
				f.expired++
				if int(id) < n {
					f.ended[id] += counted(state)
				}
				continue
			}
			f.states[state]++
			if int(id) < n {
				f.refs[id] = true
				f.live[id] += counted(state)
				f.trouble.note(id, state, p.clock.age(word, now))
			}
		}
	}
	return f
}

// scanSNAT frees the sources of idle snat flows, which `active` does not count,
// and notes the backends of the others.
func (p *pass) scanSNAT(refs []bool) (slots, used uint64) {
	if !p.snat {
		return 0, 0
	}
	now := p.clock.now()
	for i := range p.mem.snat {
		for j := range p.mem.snat[i].Word {
			at := &p.mem.snat[i].Word[j]
			word := atomic.LoadUint64(at)
			if word == 0 || p.idleTooLong(word, now) && atomic.CompareAndSwapUint64(at, word, 0) {
				continue
			}
			used++
			if id := flowID(word); int(id) < len(refs) {
				refs[id] = true
			}
		}
	}
	return uint64(len(p.mem.snat)) * uint64(flowSlots), used
}

func (p *pass) idleTooLong(word uint64, now uint32) bool {
	return p.clock.age(word, now) > uint32(p.idle[flowState(word)])
}

// expire removes a word that is idle past its timeout, and accounts for it.
func (p *pass) expire(at *uint64, word uint64, now uint32) bool {
	state, id := flowState(word), flowID(word)
	if !p.idleTooLong(word, now) || !atomic.CompareAndSwapUint64(at, word, 0) {
		return false
	}
	if int(id) < len(p.mem.active) {
		atomic.AddUint64(&p.mem.active[id], -counted(state))
	}
	return true
}

// freeRetired frees the backends and services that nothing refers to.
func (d *DataPlane) freeRetired() error {
	nat := false
	for _, b := range d.registry.leaving {
		nat = nat || b.key.forward.Translates()
		d.freeBackend(b)
	}
	for _, s := range d.registry.indexes {
		if s.removed && len(s.ids) == 0 {
			d.freeService(s)
		}
	}
	err := d.syncQUIC()
	if !nat {
		return err
	}
	return errors.Join(err, d.syncReals())
}

// reclaim frees the regions that were replaced, once no program can still read
// them or put a flow on a backend that was retired.
func (d *DataPlane) reclaim() error {
	if len(d.limbo) == 0 && !d.retiring && len(d.acls.limbo) == 0 {
		return nil
	}
	if err := grace(); err != nil {
		return err
	}
	for _, at := range d.limbo {
		d.registry.arena.release(at)
	}
	d.limbo, d.retiring = d.limbo[:0], false
	return d.acls.reclaim(d.maps.Acl)
}

const membarrierGlobal = 1 // MEMBARRIER_CMD_GLOBAL

// grace waits until every program that runs now has ended: they run inside RCU
// read-side sections, and membarrier's global command is synchronize_rcu()
// (membarrier(2), Linux 4.3). Kernels with full tickless CPUs do not have it;
// a second is then longer than any packet takes.
func grace() error {
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
	switch errno {
	case 0:
		return nil
	case unix.EINVAL, unix.ENOSYS:
		time.Sleep(time.Second)
		return nil
	}
	return fmt.Errorf("wait for running programs: %w", errno)
}
