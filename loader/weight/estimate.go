package weight

import (
	"math"
	"time"

	"weir/loader/lb"
)

const (
	// idleUtil and busyUtil are the utilisation of the busiest backend under
	// which resources do not count, and from which they count in full: with
	// nothing to do, what agents measure is noise.
	idleUtil = 0.10
	busyUtil = 0.30

	minUtil = 0.01 // less is taken for this
	maxUtil = 100
	minRate = 0.5 // units per second; less says nothing of what a backend can carry

	// An estimate that is far off follows fast, one that is nearly right
	// slowly: the first settles soon, the second does not follow noise.
	fastEstimate = 2 * time.Second
	slowEstimate = 12 * time.Second
	nearError    = 0.10 // of the logarithm, so about 10 %
	farError     = 0.30
	sureSamples  = 3

	// Headroom follows what a weight itself does to the load, times -4 at 80 %:
	// it must be this much slower than the way around the loop.
	headroomSlower = 10
	minHeadroom    = 0.05
)

// estimate is what one backend's reports come to.
type estimate struct {
	util     smooth
	rate     smooth
	response response
	capacity smooth // logarithm of what it could take of the pool's traffic, for each of its weight
	headroom smooth // logarithm of the free part
	fresh    bool   // since capacity was last made of it
	off      int    // samples in a row above (+) or below (-) capacity
}

// response is how utilisation answers to traffic, from what both changed by
// between reports: natural fluctuation is enough. A jump that others make
// meets traffic that has not changed, and counts little.
type response struct {
	util, rate   float64 // of the report before
	both, square float64 // sums of products, fading
}

const (
	responseTau = 20 * time.Second
	saturated   = 0.95 // from here on utilisation answers no more
	// With changes of traffic of less than this, relatively, all utilisation
	// is taken to be by traffic.
	littleChange = 0.03
	maxHaste     = 3
	maxBlind     = 0.35 // of a saturated backend's traffic, as a logarithm
)

func (r *response) sample(util, rate float64, passed time.Duration) {
	keep := math.Exp(-passed.Seconds() / responseTau.Seconds())
	if r.rate > 0 && util < saturated && r.util < saturated {
		dr := rate - r.rate
		r.both = keep*r.both + dr*(util-r.util)
		r.square = keep*r.square + dr*dr
	}
	r.util, r.rate = util, rate
}

// haste is how much more than in proportion traffic must change for
// utilisation to change: 1 if all of it is by traffic, 2 if half of it is.
func (r *response) haste() float64 {
	if r.rate <= 0 || r.util >= saturated {
		return 1
	}
	prior := littleChange * littleChange * r.rate * r.rate
	slope := (r.both + prior*r.util/r.rate) / (r.square + prior)
	part := slope * r.rate / r.util
	return min(max(1/max(part, 1.0/maxHaste), 1), maxHaste)
}

// sample takes a report's utilisation and free part and the traffic that goes
// with them. interval is the way of a report here: how often, and how old.
func (e *estimate) sample(now time.Time, s lb.Law, r Report, util, free float64) {
	tau := max(0, s.Smoothing-r.Tau)
	passed := now.Sub(e.util.at)
	util = min(max(util, minUtil), maxUtil)
	e.util.add(util, now, tau)
	around := headroomSlower * (s.Interval + r.Age + max(s.Smoothing, r.Tau))
	e.headroom.add(math.Log(max(free, minHeadroom)), now, around)
	if r.Rate <= 0 {
		return
	}
	e.rate.add(r.Rate, now, tau)
	e.response.sample(util, r.Rate, passed)
	e.fresh = e.rate.value >= minRate
}

// compare takes what the pool has in the mean for each of its weight and turns
// the last report into what this backend could take if all were as busy.
func (e *estimate) compare(now time.Time, base, rate, util float64) {
	if !e.fresh {
		return
	}
	e.fresh = false
	busier := e.shed(math.Log(e.util.value / util))
	capacity := math.Log(e.rate.value/base/rate) - busier
	off := capacity - e.capacity.value
	e.off = inARow(e.off, off)
	e.capacity.add(capacity, now, follow(e.off, math.Abs(off)))
}

// shed is by how much less traffic a backend should have that is so much
// busier, as a logarithm. Haste is only for shedding: one that others make
// room on answers in full.
func (e *estimate) shed(busier float64) float64 {
	switch {
	case busier <= 0:
		return busier
	case e.util.value >= saturated:
		// What it has to do may be far more than what it can.
		return min(maxHaste*busier, max(busier, maxBlind))
	}
	return busier * e.response.haste()
}

func inARow(count int, off float64) int {
	switch {
	case off > 0:
		return max(count, 0) + 1
	case off < 0:
		return min(count, 0) - 1
	}
	return 0
}

// follow is the time constant for a sample that is so far off. What is off
// once to this side and once to that is noise.
func follow(inARow int, off float64) time.Duration {
	if inARow > -sureSamples && inARow < sureSamples {
		return slowEstimate
	}
	near := min(max((farError-off)/(farError-nearError), 0), 1)
	return fastEstimate + time.Duration(near*float64(slowEstimate-fastEstimate))
}

// utilisation of a metric is its value over its limit, or the value where
// there is none.
func utilisation(b Backend, metric string, values map[string]float64) (float64, bool) {
	v, ok := values[metric]
	if l, limited := b.limit(metric); ok && limited {
		v /= l.Max
	}
	return v, ok
}

// free is the least free part of the metrics with limits, of metric where
// there are none.
func free(b Backend, metric string, values map[string]float64) float64 {
	least, found := 1.0, false
	for _, l := range b.Limits {
		if u, ok := utilisation(b, l.Metric, values); ok {
			least, found = min(least, 1-u), true
		}
	}
	if u, ok := utilisation(b, metric, values); ok && !found {
		least = 1 - u
	}
	return least
}

// project scales claims to factors within [low, high] whose mean by weight is
// 1, so that the bounds of factors are bounds of shares, whatever one backend
// claims.
func project(weights, claims []float64, low, high float64) []float64 {
	factors := make([]float64, len(claims))
	var sum, largest float64
	least := math.Inf(1)
	for i, q := range claims {
		sum += weights[i]
		largest, least = max(largest, q), min(least, q)
	}
	if sum == 0 || least <= 0 {
		return ones(factors)
	}
	at := func(logScale float64) (total float64) {
		scale := math.Exp(logScale)
		for i, q := range claims {
			factors[i] = min(max(scale*q, low), high)
			total += weights[i] * factors[i]
		}
		return total
	}
	from, to := math.Log(low/largest), math.Log(high/least)
	for range 50 {
		if mid := (from + to) / 2; at(mid) < sum {
			from = mid
		} else {
			to = mid
		}
	}
	at((from + to) / 2)
	return factors
}

func ones(f []float64) []float64 {
	for i := range f {
		f[i] = 1
	}
	return f
}
