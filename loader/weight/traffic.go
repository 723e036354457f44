package weight

import (
	"math"
	"slices"
	"time"

	"weir/loader/lb"
)

// Traffic is what the balancer itself counted for a backend. Counters rise;
// one that went back starts anew.
type Traffic struct {
	Packets uint64 // since some time: the unit of a rate that an agent does not report
	Flows   uint64 // assigned since some time
	Active  uint64 // now
}

const (
	trafficTau     = 5 * time.Second
	historyLen     = 64
	minFlows       = 50 // within trafficTau; of fewer, times say nothing
	baselineUp     = 10 * time.Minute
	baselineDown   = 20 * time.Second
	doubtStretch   = 1.5 // of the pool's median, and more the fewer flows it is known by
	doubtNoise     = 4   // standard errors
	doubtSamples   = 3   // in a row
	doubtHold      = 10 * time.Minute
	doubtMaxHold   = 4 * time.Hour
	doubtForgets   = time.Hour
	doubtedAtLeast = 1.1 // factor
)

// observed is what traffic says of a backend: packets per second over the last
// minute, and by Little's law (active = rate × time) how long flows stay.
type observed struct {
	last    Traffic
	at      time.Time
	packets smooth
	flows   smooth
	active  smooth
	base    smooth // how long flows stay when it is quick
	began   time.Time
	history [historyLen]sample
	next    int
}

type sample struct {
	at   time.Time
	rate float64
}

func (o *observed) add(now time.Time, t Traffic, smoothing time.Duration) {
	passed := now.Sub(o.at).Seconds()
	first := o.at.IsZero() || t.Packets < o.last.Packets || t.Flows < o.last.Flows
	if !first && passed <= 0 {
		return
	}
	last := o.last
	o.last, o.at = t, now
	if first {
		return
	}
	o.packets.add(float64(t.Packets-last.Packets)/passed, now, smoothing)
	o.flows.add(float64(t.Flows-last.Flows)/passed, now, trafficTau)
	o.active.add(float64(t.Active), now, trafficTau)
	o.history[o.next] = sample{now, o.packets.value}
	o.next = (o.next + 1) % historyLen
	o.learnBase(now)
}

// learnBase follows times down soon and up slowly, but for the time that one
// has been looking no more slowly than a mean: first samples are chance.
func (o *observed) learnBase(now time.Time) {
	stay, ok := o.stay()
	if !ok {
		return
	}
	if o.began.IsZero() {
		o.began = now
	}
	tau := min(baselineUp, max(now.Sub(o.began), baselineDown))
	if stay < o.base.value {
		tau = baselineDown
	}
	o.base.add(stay, now, tau)
}

// stay is the mean time of a flow in seconds, if enough flows came.
func (o *observed) stay() (float64, bool) {
	if o.flows.value*trafficTau.Seconds() < minFlows {
		return 0, false
	}
	return o.active.value / o.flows.value, true
}

// stretch is how much longer than usual flows stay.
func (o *observed) stretch() (float64, bool) {
	stay, ok := o.stay()
	if !ok || !(o.base.value > 0) || o.at.Sub(o.began) < baselineDown {
		return 0, false
	}
	return stay / o.base.value, true
}

// noise is the relative error of stretch: active flows are looked at once in a
// second, and counted over trafficTau.
func (o *observed) noise() float64 {
	return doubtNoise / math.Sqrt(max(1, 2*trafficTau.Seconds()*o.active.value))
}

// rateAt is the rate that was known at a time, the oldest of memory if that is
// later, 0 if nothing is remembered.
func (o *observed) rateAt(t time.Time) float64 {
	rate := 0.0
	for i := range o.history {
		s := o.history[(o.next+i)%historyLen] // oldest first
		if s.at.IsZero() {
			continue
		}
		if rate == 0 || !s.at.After(t) {
			rate = s.rate
		}
	}
	return rate
}

// doubt is the second opinion: a backend that claims room for more than its
// configured weight, while flows stay longer there than they do elsewhere, is
// not believed.
type doubt struct {
	samples int
	since   time.Time
	until   time.Time
	hold    time.Duration
	stretch float64 // over the median, when it began
}

func (d *doubt) active(now time.Time) bool { return now.Before(d.until) }

// ceiling is the most that is believed: the configured weight while doubt
// lasts, and slowly more after.
func (d *doubt) ceiling(now time.Time) float64 {
	if d.hold == 0 {
		return lb.MaxFactor
	}
	return 1 + max(0, now.Sub(d.until).Seconds()/d.hold.Seconds())
}

// consider reports whether doubt begins.
func (d *doubt) consider(now time.Time, factor, stretch, median, noise float64) bool {
	if factor < doubtedAtLeast || stretch <= doubtStretch*(1+noise)*median {
		d.samples = 0
		return false
	}
	if d.samples++; d.samples < doubtSamples || d.active(now) {
		return false
	}
	if d.hold == 0 || now.Sub(d.until) > doubtForgets {
		d.hold = doubtHold
	} else {
		d.hold = min(2*d.hold, doubtMaxHold)
	}
	d.samples, d.since, d.until, d.stretch = 0, now, now.Add(d.hold), stretch/median
	return true
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	slices.Sort(values)
	return values[len(values)/2]
}
