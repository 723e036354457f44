package demo

import (
	"testing"
	"time"
)

func TestBucketsHoldTheirDurations(t *testing.T) {
	for us := range 1 << 18 {
		d := time.Duration(us) * time.Microsecond
		i := bucketOf(d)
		top := bucketTop(i)
		if top < d || top-d > d/subBuckets {
			t.Fatalf("%s falls into bucket %d up to %s", d, i, top)
		}
		if i > 0 && bucketTop(i-1) >= d {
			t.Fatalf("%s falls into bucket %d though %d reaches %s", d, i, i-1, bucketTop(i-1))
		}
	}
	if i := bucketOf(1 << 62); i != bucketCount-1 {
		t.Errorf("146 years fall into bucket %d, want the last, %d", i, bucketCount-1)
	}
	if i := bucketOf(-time.Second); i != 0 {
		t.Errorf("a negative duration falls into bucket %d, want 0", i)
	}
}

func TestQuantiles(t *testing.T) {
	var h histogram
	if got := h.read().quantile(0.99); got != 0 {
		t.Errorf("quantile of nothing is %s, want 0", got)
	}
	for us := 1; us <= 1000; us++ {
		h.add(time.Duration(us) * time.Microsecond)
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 500, 0.99: 990, 1: 1000} {
		want *= time.Microsecond
		got := h.read().quantile(q)
		if got < want || got > want+want/16 {
			t.Errorf("quantile %v is %s, want %s", q, got, want)
		}
	}
	before := h.read()
	h.add(5 * time.Microsecond)
	if got := h.read().since(before).quantile(0.5); got != 5*time.Microsecond {
		t.Errorf("median since then is %s, want 5µs", got)
	}
}
