package dataplane

import (
	"sync/atomic"

	"weir/bpf"
)

// The words of bpf/fragment.h.
const (
	fragmentValueShift = 11
	fragmentValueMask  = 1<<21 - 1
	fragmentTimeShift  = 3
	fragmentTimeMask   = 1<<8 - 1
	fragmentKindMask   = 7
	fragmentAge        = 4 // FRAGMENT_AGE
)

// scanFragments forgets packets whose fragments have had their time: the clock
// of their words comes round in 18 minutes. It notes the backends of the others.
func (p *pass) scanFragments(refs []bool) {
	now := p.clock.now()
	for i := range p.mem.frags {
		for j := range p.mem.frags[i].Word {
			at := &p.mem.frags[i].Word[j]
			word := atomic.LoadUint64(at)
			if word == 0 || fragmentExpired(word, now) && atomic.CompareAndSwapUint64(at, word, 0) {
				continue
			}
			switch bpf.WeirFragmentKind(word & fragmentKindMask) {
			case bpf.WeirFragmentKindFRAGMENT_REQUEST, bpf.WeirFragmentKindFRAGMENT_REPLY:
				if id := word >> fragmentValueShift & fragmentValueMask; id < uint64(len(refs)) {
					refs[id] = true
				}
			}
		}
	}
}

// fragmentExpired is fragment_expired in bpf/fragment.h.
func fragmentExpired(word uint64, now uint32) bool {
	return (now+1-uint32(word>>fragmentTimeShift))&fragmentTimeMask > fragmentAge+1
}
