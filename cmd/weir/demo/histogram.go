package demo

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets of a microsecond up to subBuckets and
// then of at most 1/subBuckets of their value. Any goroutine may add at any
// time.
type histogram struct {
	buckets [bucketCount]atomic.Uint64
}

// 2^5 buckets per power of two bound the error of a quantile to about 3 %.
// 2^35 µs are nine hours.
const (
	subBits     = 5
	subBuckets  = 1 << subBits
	bucketCount = (35 - subBits + 1) * subBuckets
)

func (h *histogram) add(d time.Duration) { h.buckets[bucketOf(d)].Add(1) }

func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < subBuckets {
		return int(us)
	}
	shift := bits.Len64(us) - subBits - 1
	return min((shift+1)*subBuckets+int(us>>shift)-subBuckets, bucketCount-1)
}

// bucketTop is the largest duration of a bucket.
func bucketTop(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i) * time.Microsecond
	}
	shift := i/subBuckets - 1
	low := uint64(i%subBuckets+subBuckets) << shift
	return time.Duration(low+1<<shift-1) * time.Microsecond
}

// counts is one reading of a histogram.
type counts [bucketCount]uint64

func (h *histogram) read() *counts {
	var c counts
	for i := range h.buckets {
		c[i] = h.buckets[i].Load()
	}
	return &c
}

// since is what was added after an earlier reading.
func (c *counts) since(earlier *counts) *counts {
	var d counts
	for i := range c {
		d[i] = c[i] - earlier[i]
	}
	return &d
}

// quantile is the upper bound of the bucket that holds the q-th part, 0 if
// nothing was counted.
func (c *counts) quantile(q float64) time.Duration {
	var total, seen uint64
	for _, n := range c {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := min(uint64(q*float64(total)), total-1)
	for i, n := range c {
		if seen += n; seen > rank {
			return bucketTop(i)
		}
	}
	return 0
}
