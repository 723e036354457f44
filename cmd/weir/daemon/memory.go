package daemon

import (
	"os"
	"runtime/debug"

	"weir/loader/lb"
)

const (
	usualGC = 100 // percent: Go's default
	cacheGC = 25
	// cacheCounts is how much memory caches must have for it to matter, bytes.
	cacheCounts = 128 << 20
)

// collectFor bounds what the process takes beyond what it keeps. The collector
// lets memory double by default, which gigabytes of stored answers would really
// do; bodies have no pointers, so that it costs little to collect them sooner.
// GOGC and GOMEMLIMIT in the environment come before it.
func collectFor(c lb.HTTP) {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(percentFor(c))
	}
}

func percentFor(c lb.HTTP) int {
	total := int64(0)
	for _, cache := range c.Caches {
		total += cache.Memory
	}
	if total < cacheCounts {
		return usualGC
	}
	return cacheGC
}
