package weight

import (
	"fmt"
	"time"

	"weir/loader/lb"
)

// Report is what an agent says about its backend. The age of what it says is
// measured by the agent and by the way here, never by comparing clocks.
type Report struct {
	Boot   string             // another one each time the agent starts
	Seq    uint64             // rises from report to report of one boot
	Age    time.Duration      // of the values, when the report arrived
	Tau    time.Duration      // time constant that the agent smoothed them with
	Rate   float64            // traffic that goes with the values, smoothed alike, in any unit per second; 0: not known
	Values map[string]float64 // by metric; ratios are between 0 and 1

	Out     string  // state in which it takes no new flows, such as drain; "": in service
	Percent float64 // of its configured weight, as the agent asks for; 0: does not
	MaxConn float64 // connections that it takes; 0: any number
}

// Refusal is why a report was not taken. Reports are counted by it.
type Refusal string

// Refusals.
const (
	NotFinite   Refusal = "not_finite"
	Negative    Refusal = "negative"
	TooLarge    Refusal = "too_large"
	TooMany     Refusal = "too_many_values"
	TooOld      Refusal = "too_old"
	Replayed    Refusal = "replayed"
	NotABackend Refusal = "not_a_backend"
)

const (
	maxValues = 256
	maxAge    = time.Minute
	maxBoot   = 64 // bytes
	maxBoots  = 8
)

// RefusedError says which report was not taken and why.
type RefusedError struct {
	Why    Refusal
	Detail string
}

func (e *RefusedError) Error() string { return "report refused: " + e.Detail }

func refuse(why Refusal, format string, args ...any) error {
	return &RefusedError{Why: why, Detail: fmt.Sprintf(format, args...)}
}

func (r Report) check() error {
	if len(r.Values) > maxValues {
		return refuse(TooMany, "%d values are over %d", len(r.Values), maxValues)
	}
	if len(r.Boot) > maxBoot {
		return refuse(TooLarge, "boot id of %d bytes, the most is %d", len(r.Boot), maxBoot)
	}
	if r.Age < 0 || r.Tau < 0 {
		return refuse(Negative, "age %s, time constant %s", r.Age, r.Tau)
	}
	if r.Age > maxAge || r.Tau > maxAge {
		return refuse(TooOld, "age %s, time constant %s; the most is %s", r.Age, r.Tau, maxAge)
	}
	for name, v := range map[string]float64{"rate": r.Rate, "percent": r.Percent, "maxconn": r.MaxConn} {
		if err := checkValue(name, v); err != nil {
			return err
		}
	}
	if len(r.Out) > maxBoot {
		return refuse(TooLarge, "state of %d bytes, the most is %d", len(r.Out), maxBoot)
	}
	for metric, v := range r.Values {
		if err := checkValue(metric, v); err != nil {
			return err
		}
	}
	return nil
}

func checkValue(name string, v float64) error {
	switch {
	case !finite(v):
		return refuse(NotFinite, "%.40q is %v", name, v)
	case v < 0:
		return refuse(Negative, "%.40q is %v", name, v)
	case v > lb.MaxValue:
		return refuse(TooLarge, "%.40q is %v", name, v)
	}
	return nil
}

// order lets each report of a boot count once and in turn. The boots before
// are remembered, so that what was recorded earlier cannot be played again.
type order struct {
	started bool
	boot    string
	seq     uint64
	former  []string
}

func (o *order) admit(boot string, seq uint64) error {
	if o.started && boot == o.boot {
		if seq <= o.seq {
			return refuse(Replayed, "sequence %d after %d", seq, o.seq)
		}
		o.seq = seq
		return nil
	}
	for _, b := range o.former {
		if b == boot {
			return refuse(Replayed, "boot %.40q has ended", boot)
		}
	}
	if o.started {
		o.former = append(o.former, o.boot)
		o.former = o.former[max(0, len(o.former)-maxBoots):]
	}
	o.started, o.boot, o.seq = true, boot, seq
	return nil
}
