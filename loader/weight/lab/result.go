package lab

import (
	"math"
	"time"
)

// Result is how an algorithm did in a scenario. Times of requests and
// utilisation are of the time from half a minute after the disturbance, or
// after the start, to the end.
type Result struct {
	Scenario  string `json:"scenario"`
	Algorithm string `json:"algorithm"`
	Seed      uint64 `json:"seed"`

	Requests uint64  `json:"requests"`
	Errors   uint64  `json:"errors"` // of the whole run: the queue was full
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	P999     float64 `json:"p999_ms"`

	MaxOverMean float64  `json:"max_over_mean"`              // of the backends' utilisation
	Settling    *float64 `json:"settling_seconds"`           // until it stays under 1.05; null: never
	Overshoot   float64  `json:"overshoot"`                  // of the weight that changes most, in its change
	Oscillation float64  `json:"sign_changes_per_minute"`    // of the weight that turns most
	Publishes   float64  `json:"publishes_per_hour"`         // of a node
	Entries     float64  `json:"entries_moved_per_hour"`     // of a node's table
	Flows       float64  `json:"flows_moved_per_hour"`       // of all nodes, were there no flow table
	Broken      uint64   `json:"flows_broken"`               // that did move
	Largest     float64  `json:"largest_part_moved_at_once"` // of a table

	Series Series `json:"-"`
}

const (
	balanced  = 1.05 // max over mean
	settledOf = 0.95 // of the seconds that follow
)

func (s *sim) result() Result {
	m := s.meter
	r := Result{
		Scenario: s.Name, Algorithm: s.algorithm.Name, Requests: m.requests, Errors: m.errors,
		P50: ms(m.latency.quantile(0.5)), P99: ms(m.latency.quantile(0.99)), P999: ms(m.latency.quantile(0.999)),
		MaxOverMean: s.maxOverMean(), Settling: s.settling(), Overshoot: s.overshoot(), Oscillation: s.oscillation(),
		Series: m.series,
	}
	for _, n := range s.nodes {
		r.Publishes += s.perHour(n.published) / float64(len(s.nodes))
		r.Entries += s.perHour(n.entries) / float64(len(s.nodes))
		r.Flows += s.perHour(n.flows)
		r.Broken += n.broken
		r.Largest = max(r.Largest, n.largest)
	}
	return r
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (s *sim) maxOverMean() float64 {
	if s.meter.areas == nil {
		return 0 // the run ended before
	}
	used := make([]float64, len(s.servers))
	for i := range s.servers {
		s.servers[i].account(s.now)
		used[i] = (s.servers[i].area - s.meter.areas[i]) / float64(s.servers[i].Cores)
	}
	return maxOverMean(used)
}

func maxOverMean(values []float64) float64 {
	var largest, sum float64
	for _, v := range values {
		largest, sum = max(largest, v), sum+v
	}
	if sum == 0 {
		return 1
	}
	return largest * float64(len(values)) / sum
}

// since are the samples since the disturbance.
func (s *sim) since(series [][]float64) [][]float64 {
	return series[min(int(s.Disturbed/time.Second), len(series)):]
}

// settling is the time after which the pool is as good as balanced for the rest.
func (s *sim) settling() *float64 {
	series := s.since(s.meter.series.Expected)
	good, best := 0, -1
	for i := len(series) - 1; i >= 0; i-- {
		if maxOverMean(series[i]) <= balanced {
			good++
			if float64(good) >= settledOf*float64(len(series)-i) {
				best = i
			}
		}
	}
	if best < 0 || best > len(series)-10 {
		return nil
	}
	t := float64(best)
	return &t
}

// overshoot is how far the weight that changes most goes beyond where it
// stays, in its change.
func (s *sim) overshoot() float64 {
	series := s.since(s.meter.series.Weight)
	final := mean(series[max(0, len(series)-60):])
	most, which := 0.0, -1
	for i := range final {
		if d := math.Abs(final[i] - series[0][i]); d > most {
			most, which = d, i
		}
	}
	if most < 0.1 {
		return 0
	}
	var beyond float64
	for _, w := range series {
		d := (w[which] - final[which]) * (final[which] - series[0][which])
		beyond = max(beyond, d/most/most)
	}
	return beyond
}

func mean(series [][]float64) []float64 {
	all := make([]float64, len(series[0]))
	for _, values := range series {
		for i, v := range values {
			all[i] += v / float64(len(series))
		}
	}
	return all
}

// oscillation is how often in a minute the weight that turns most turns.
func (s *sim) oscillation() float64 {
	series := s.since(s.meter.series.Weight)
	most := 0
	for i := range s.servers {
		turns, last := 0, 0.0
		for k := 1; k < len(series); k++ {
			d := series[k][i] - series[k-1][i]
			if d*last < 0 {
				turns++
			}
			if d != 0 {
				last = d
			}
		}
		most = max(most, turns)
	}
	return float64(most) / (float64(len(series)) / 60)
}
