package dataplane

import (
	"time"

	"golang.org/x/sys/unix"
)

// The flow word's fields, as in bpf/flow.h.
const (
	flowTagShift  = 32
	flowIDShift   = 14
	flowIDMask    = 1<<18 - 1
	flowTimeShift = 3
	flowTimeMask  = 1<<11 - 1
	flowStateMask = 7
)

// flowClock is flow_clock in bpf/flow.h.
type flowClock struct{ shift uint32 }

func (c flowClock) now() uint32 {
	var t unix.Timespec
	// Cannot fail: the clock exists since Linux 2.6.32.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &t)
	return uint32(uint64(t.Nano())>>c.shift) & flowTimeMask
}

// age is how long ago a word was used, in the clock's units. A CPU's clock may
// be ahead of ours by a tick: that is age 0, not the oldest.
func (c flowClock) age(word uint64, now uint32) uint32 {
	age := (now - uint32(word>>flowTimeShift)) & flowTimeMask
	if age == flowTimeMask {
		return 0
	}
	return age
}

func (c flowClock) duration(age uint32) time.Duration {
	return time.Duration(age) << c.shift
}

func flowID(word uint64) uint32    { return uint32(word>>flowIDShift) & flowIDMask }
func flowState(word uint64) uint32 { return uint32(word) & flowStateMask }
