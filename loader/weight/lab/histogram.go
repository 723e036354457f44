package lab

import (
	"math"
	"time"
)

const (
	bucketBits = 52 - 7 // 128 buckets for each doubling, so less than 1 % wide
	firstOne   = 1023 << 7
	doublings  = 42 // from 1 ns to more than an hour
)

// histogram counts times.
type histogram struct {
	count [doublings << 7]uint64
	total uint64
}

func (h *histogram) add(nanoseconds int64) {
	b := int(math.Float64bits(float64(max(nanoseconds, 1)))>>bucketBits) - firstOne
	h.count[min(b, len(h.count)-1)]++
	h.total++
}

// quantile is the upper end of the bucket that the quantile falls into.
func (h *histogram) quantile(q float64) time.Duration {
	rank, seen := uint64(math.Ceil(q*float64(h.total))), uint64(0)
	for b, n := range h.count {
		if seen += n; seen >= rank && n > 0 {
			return time.Duration(math.Float64frombits(uint64(b+1+firstOne) << bucketBits))
		}
	}
	return 0
}
