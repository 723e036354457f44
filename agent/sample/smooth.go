package sample

import (
	"math"
	"time"
)

// smooth moves values towards new ones as far as the time between them says:
// an exponentially weighted mean with time constant tau, so that the pace does
// not depend on how often is sampled. Metrics that are new begin at their value,
// those that have gone are forgotten.
func smooth(old, sample map[string]float64, after, tau time.Duration) map[string]float64 {
	keep := math.Exp(-after.Seconds() / tau.Seconds())
	smoothed := make(map[string]float64, len(sample))
	for name, x := range sample {
		if before, ok := old[name]; ok {
			x += keep * (before - x)
		}
		smoothed[name] = x
	}
	return smoothed
}
