package demo

import "time"

// sample is one reading of all counters.
type sample struct {
	at               time.Time
	requests, failed uint64
	latency          *counts
	accepted         []uint64 // per backend
}

func takeSample(l *load, servers []*server) sample {
	s := sample{at: time.Now(), requests: l.requests.Load(), failed: l.failed.Load(), latency: l.latency.read()}
	for _, srv := range servers {
		s.accepted = append(s.accepted, srv.accepted.Load())
	}
	return s
}

// since is what happened after an earlier sample, and in which time.
func (s sample) since(earlier sample) (sample, time.Duration) {
	d := sample{
		at:       s.at,
		requests: s.requests - earlier.requests,
		failed:   s.failed - earlier.failed,
		latency:  s.latency.since(earlier.latency),
	}
	for i := range s.accepted {
		d.accepted = append(d.accepted, s.accepted[i]-earlier.accepted[i])
	}
	return d, s.at.Sub(earlier.at)
}

// shares are the backends' parts of the connections, all 0 if there are none.
func (s sample) shares() []float64 {
	shares, total := make([]float64, len(s.accepted)), uint64(0)
	for _, n := range s.accepted {
		total += n
	}
	for i, n := range s.accepted {
		if total > 0 {
			shares[i] = float64(n) / float64(total)
		}
	}
	return shares
}

func perSecond(n uint64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
