package dataplane

import (
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

func counted(state uint32) bool {
	return state >= uint32(bpf.WeirFlowStateFLOW_EMBRYONIC) && state <= uint32(bpf.WeirFlowStateFLOW_STREAM)
}

// Sweep expires idle flows by compare-and-swap, so it never disturbs a packet,
// and frees retired backends that no flow refers to.
func (d *DataPlane) Sweep() (lb.FlowUse, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.reclaim(); err != nil {
		return lb.FlowUse{}, err
	}
	var states [flowStates]uint64
	refs := make([]bool, len(d.mem.backends))
	use := lb.FlowUse{Slots: uint64(len(d.mem.flows)) * flowSlots, ByState: map[string]uint64{}}
	now := d.clock.now()
	for i := range d.mem.flows {
		for j := range d.mem.flows[i].Word {
			at := &d.mem.flows[i].Word[j]
			word := atomic.LoadUint64(at)
			if word == 0 {
				continue
			}
			if d.expire(at, word, now) {
				use.Expired++
				continue
			}
			states[flowState(word)]++
			if id := flowID(word); int(id) < len(refs) {
				refs[id] = true
			}
		}
	}
	for state, n := range states {
		if n > 0 {
			use.ByState[stateNames[state]] = n
		}
	}
	return use, d.freeRetired(refs)
}

// expire removes a word that is idle past its timeout, and accounts for it.
func (d *DataPlane) expire(at *uint64, word uint64, now uint32) bool {
	state, id := flowState(word), flowID(word)
	if d.clock.age(word, now) <= uint32(d.idle[state]) || !atomic.CompareAndSwapUint64(at, word, 0) {
		return false
	}
	if counted(state) && int(id) < len(d.mem.active) {
		atomic.AddUint64(&d.mem.active[id], ^uint64(0))
	}
	return true
}

func (d *DataPlane) freeRetired(refs []bool) error {
	nat := false
	for id, b := range d.registry.backends {
		if !b.retired || refs[id] {
			continue
		}
		nat = nat || b.key.forward == lb.NAT
		d.freeBackend(b)
	}
	for _, s := range d.registry.services {
		if s.removed && len(s.ids) == 0 {
			d.freeService(s)
		}
	}
	if !nat {
		return nil
	}
	return d.syncReals()
}

// reclaim frees the regions that were replaced, once no program can still read
// them.
func (d *DataPlane) reclaim() error {
	if err := grace(); err != nil {
		return err
	}
	for _, at := range d.limbo {
		d.registry.arena.release(at)
	}
	d.limbo = d.limbo[:0]
	return nil
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
