package weight

import (
	"fmt"
	"time"

	"weir/loader/lb"
)

const (
	tripSamples = 3 // in a row over the limit

	// A cut-off holds this long at least, and twice as long each time that it
	// trips again soon: a backend whose own traffic drives it over the limit
	// would swing for ever otherwise.
	cutoffHold    = 20 * time.Second
	cutoffMaxHold = 10 * time.Minute
	cutoffForgets = 10 * time.Minute
)

// cutoff is the state of one backend's limits. The zero value is closed.
type cutoff struct {
	over    []int // by limit: samples in a row
	tripped int   // 1 + index of the limit that tripped, 0: none
	since   time.Time
	until   time.Time // not before
	hold    time.Duration
	value   float64 // last value of the metric that tripped
}

// sample looks at a report's values; a limit whose metric is missing neither
// trips nor clears.
func (c *cutoff) sample(now time.Time, limits []lb.Limit, values map[string]float64) {
	if len(c.over) != len(limits) {
		*c = cutoff{over: make([]int, len(limits)), hold: c.hold, since: c.since}
	}
	for i, l := range limits {
		v, known := values[l.Metric]
		if !known {
			continue
		}
		if v > l.Max {
			c.over[i]++
		} else {
			c.over[i] = 0
		}
		if c.tripped == 0 && c.over[i] >= tripSamples {
			c.trip(now, i)
		}
		if c.tripped == i+1 {
			c.value = v
			if v <= l.Clear && !now.Before(c.until) {
				c.tripped = 0
			}
		}
	}
}

func (c *cutoff) trip(now time.Time, limit int) {
	if c.hold == 0 || now.Sub(c.since) > c.hold+cutoffForgets {
		c.hold = cutoffHold
	} else {
		c.hold = min(2*c.hold, cutoffMaxHold)
	}
	c.tripped, c.since, c.until = limit+1, now, now.Add(c.hold)
}

func (c *cutoff) why(now time.Time, limits []lb.Limit) string {
	l := limits[c.tripped-1]
	s := fmt.Sprintf("cut off for %s: %s is %.4g, the limit %.4g, clears at %.4g",
		now.Sub(c.since).Round(time.Second), l.Metric, c.value, l.Max, l.Clear)
	if rest := c.until.Sub(now); rest > 0 {
		s += fmt.Sprintf(", not before %s from now", rest.Round(time.Second))
	}
	return s
}
