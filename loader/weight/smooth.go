package weight

import (
	"math"
	"time"
)

// smooth is an exponentially weighted mean by time constant: what was seen tau
// ago counts 1/e of what is seen now, however often one looks.
type smooth struct {
	value float64
	at    time.Time // of the last value; zero: none yet
}

func (s *smooth) add(v float64, now time.Time, tau time.Duration) {
	s.value += s.gain(now, tau) * (v - s.value)
	if now.After(s.at) {
		s.at = now
	}
}

// gain is how much of the way to a new value is taken. A clock that went back
// takes none.
func (s *smooth) gain(now time.Time, tau time.Duration) float64 {
	if s.at.IsZero() || tau <= 0 {
		return 1
	}
	passed := max(0, now.Sub(s.at))
	return -math.Expm1(-passed.Seconds() / tau.Seconds())
}

func (s *smooth) known() bool { return !s.at.IsZero() }
