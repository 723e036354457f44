package dataplane

import (
	"errors"
	"fmt"
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
// and frees retired backends that no flow refers to.
func (d *DataPlane) Sweep() (lb.FlowUse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.reclaim(); err != nil {
		return lb.FlowUse{}, err
	}
	d.watch()
	found := d.scan()
	use := lb.FlowUse{
		Slots:   uint64(len(d.mem.flows)) * flowSlots,
		ByState: map[string]uint64{},
		Expired: found.expired,
	}
	use.SNATSlots, use.SNATUsed = d.scanSNAT(found.refs)
	d.scanFragments(found.refs)
	for state, n := range found.states {
		if n > 0 {
			use.ByState[stateNames[state]] = n
		}
	}
	d.audit(found)
	d.sweepSources()
	return use, d.freeRetired(found.refs)
}

// found is what one pass over the flow table saw, by state and by backend id.
type found struct {
	expired uint64
	states  [flowStates]uint64
	refs    []bool   // some word names the backend
	live    []uint64 // flows that count as active
	ended   []uint64 // those that expired
}

func (d *DataPlane) scan() found {
	n := len(d.mem.backends)
	f := found{refs: make([]bool, n), live: make([]uint64, n), ended: make([]uint64, n)}
	now := d.clock.now()
	for i := range d.mem.flows {
		for j := range d.mem.flows[i].Word {
			at := &d.mem.flows[i].Word[j]
			word := atomic.LoadUint64(at)
			if word == 0 {
				continue
			}
			state, id := flowState(word), flowID(word)
			if d.expire(at, word, now) {
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
			}
		}
	}
	return f
}

// scanSNAT frees the sources of idle snat flows, which `active` does not count,
// and notes the backends of the others.
func (d *DataPlane) scanSNAT(refs []bool) (slots, used uint64) {
	if snatSets(d.config.SNAT) == 0 {
		return 0, 0
	}
	now := d.clock.now()
	for i := range d.mem.snat {
		for j := range d.mem.snat[i].Word {
			at := &d.mem.snat[i].Word[j]
			word := atomic.LoadUint64(at)
			if word == 0 || d.idleTooLong(word, now) && atomic.CompareAndSwapUint64(at, word, 0) {
				continue
			}
			used++
			if id := flowID(word); int(id) < len(refs) {
				refs[id] = true
			}
		}
	}
	return uint64(len(d.mem.snat)) * flowSlots, used
}

func (d *DataPlane) idleTooLong(word uint64, now uint32) bool {
	return d.clock.age(word, now) > uint32(d.idle[flowState(word)])
}

// expire removes a word that is idle past its timeout, and accounts for it.
func (d *DataPlane) expire(at *uint64, word uint64, now uint32) bool {
	state, id := flowState(word), flowID(word)
	if !d.idleTooLong(word, now) || !atomic.CompareAndSwapUint64(at, word, 0) {
		return false
	}
	if int(id) < len(d.mem.active) {
		atomic.AddUint64(&d.mem.active[id], -counted(state))
	}
	return true
}

// freeRetired frees retired backends and services that nothing refers to. It
// waits out the programs that may have removed a backend's last flow and not
// counted it yet.
func (d *DataPlane) freeRetired(refs []bool) error {
	var free []*backend
	nat := false
	for id, b := range d.registry.retired {
		if !refs[id] {
			free = append(free, b)
			nat = nat || b.key.forward.Translates()
		}
	}
	if len(free) > 0 {
		if err := grace(); err != nil {
			return err
		}
	}
	for _, b := range free {
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
