package health

import "time"

// A target that goes down again within flapWindow of having come up must then
// be well without a break for flapHold, and twice as long each further time,
// until it is taken for up.
const (
	flapWindow  = time.Minute
	flapHold    = 10 * time.Second
	flapHoldMax = 2 * time.Minute
)

// machine turns the results of probes into a state. It is pure: time is what
// its caller says it is.
type machine struct {
	rise, fall int

	state  State
	since  time.Time // when state was reached
	risen  time.Time // when it came back up; zero: it never did
	streak int       // results in a row that contradict state
	first  time.Time // when that streak began
	flaps  int       // how often it went down soon after it came up
}

// observe takes one result and reports whether the state changed. The first
// result of all decides at once: before it nothing is known.
func (m *machine) observe(now time.Time, ok bool) bool {
	if m.state == Unknown {
		m.become(now, ok)
		return true
	}
	if ok == (m.state == Up) {
		m.streak = 0
		return false
	}
	if m.streak++; m.streak == 1 {
		m.first = now
	}
	if m.streak < m.needed() || now.Before(m.heldUntil()) {
		return false
	}
	m.become(now, ok)
	return true
}

func (m *machine) needed() int {
	if m.state == Up {
		return m.fall
	}
	return m.rise
}

func (m *machine) become(now time.Time, ok bool) {
	was := m.state
	m.state, m.since, m.streak = Down, now, 0
	switch {
	case ok:
		m.state = Up
		if was == Down {
			m.risen = now
		}
	case now.Sub(m.risen) < flapWindow:
		m.flaps++
	default:
		m.flaps = 0
	}
}

// heldUntil is when a target that flaps and is well again may come up; zero
// if it need not wait.
func (m *machine) heldUntil() time.Time {
	if m.state != Down || m.flaps == 0 || m.streak == 0 {
		return time.Time{}
	}
	return m.first.Add(min(flapHold<<min(m.flaps-1, 8), flapHoldMax))
}

// inTransition reports whether the next results may change the state, so that
// it is worth to look more often.
func (m *machine) inTransition() bool { return m.streak > 0 && m.streak < m.needed() }
