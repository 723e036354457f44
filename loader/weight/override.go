package weight

import (
	"strconv"
	"time"

	"weir/loader/lb"
)

// Override is what an operator put in place of a configured weight. Drain
// keeps no weight: a backend made ready again has its configured one. It is
// comparable.
type Override struct {
	Drain  bool
	Weight lb.Weight
	Until  time.Time // when it ends; zero: when it is taken back
	Reason string    // what the operator said, for people
}

// Expired reports whether its time is over.
func (o Override) Expired(now time.Time) bool { return !o.Until.IsZero() && !now.Before(o.Until) }

func (o Override) String() string {
	if o.Drain {
		return "drain"
	}
	return "weight " + strconv.Itoa(int(o.Weight))
}

// describe says what it is, for how long and why it was set.
func (o Override) describe(now time.Time) string {
	s := o.String()
	if !o.Until.IsZero() {
		s += " for " + o.Until.Sub(now).Round(time.Second).String() + " more"
	}
	if o.Reason != "" {
		s += ": " + o.Reason
	}
	return s
}
