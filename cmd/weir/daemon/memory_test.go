package daemon

import (
	"testing"

	"weir/loader/lb"
)

func TestPercentFor(t *testing.T) {
	for _, c := range []struct {
		caches []lb.Cache
		want   int
	}{
		{nil, usualGC},
		{[]lb.Cache{{Memory: 64 << 20}}, usualGC},
		{[]lb.Cache{{Memory: 64 << 20}, {Memory: 64 << 20}}, cacheGC},
		{[]lb.Cache{{Memory: 10 << 30}}, cacheGC},
	} {
		if got := percentFor(lb.HTTP{Caches: c.caches}); got != c.want {
			t.Errorf("%v: %d, want %d", c.caches, got, c.want)
		}
	}
}
