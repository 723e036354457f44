package health

import (
	"math/rand/v2"
	"time"

	"weir/loader/lb"
)

// firstRound is the time over which the first probes of targets are spread,
// or their interval where that is shorter.
const firstRound = time.Second

// agenda says which probe is due when. It is pure: time is what its caller
// says it is. Each target's probes have a phase of their own, so that many
// targets with one interval make an even stream.
type agenda struct {
	items queue
	epoch time.Time
	rand  *rand.Rand
}

func newAgenda(seed uint64) *agenda {
	return &agenda{epoch: time.Now(), rand: rand.New(rand.NewPCG(seed, 0))}
}

// first puts a new target on the agenda.
func (a *agenda) first(c *check, now time.Time) {
	a.put(c, now.Add(a.upTo(min(firstRound, c.target.Health.Interval))))
}

// again puts a target on the agenda whose probe was due at due and has ended
// now.
func (a *agenda) again(c *check, due, now time.Time) {
	every := c.target.Health.Interval
	if c.machine.inTransition() || c.suspected {
		every = c.target.Health.FastInterval
	}
	next := due.Add(jittered(every, c.target.Health, a.rand.Float64()))
	if next.Before(now) {
		next = now
	}
	a.put(c, next)
}

// sooner moves a target's next probe to now; it must be on the agenda.
func (a *agenda) sooner(c *check, now time.Time) {
	if c.index >= 0 && now.Before(c.due) {
		a.items.remove(c.index)
		a.put(c, now)
	}
}

func (a *agenda) drop(c *check) {
	if c.index >= 0 {
		a.items.remove(c.index)
	}
}

// next is when the next probe is due, and false if none is.
func (a *agenda) next() (time.Time, bool) {
	if len(a.items) == 0 {
		return time.Time{}, false
	}
	return a.items[0].check.due, true
}

// take gives the check that is due longest, or nil.
func (a *agenda) take(now time.Time) *check {
	if len(a.items) == 0 || a.items[0].due > now.Sub(a.epoch) {
		return nil
	}
	c := a.items[0].check
	a.items.remove(0)
	return c
}

func (a *agenda) put(c *check, due time.Time) {
	c.due = due
	a.items.add(entry{due.Sub(a.epoch), c})
}

func (a *agenda) upTo(d time.Duration) time.Duration {
	return time.Duration(a.rand.Float64() * float64(d))
}

// jittered is an interval, longer or shorter by up to half of the jitter;
// random is in [0, 1).
func jittered(every time.Duration, h lb.Health, random float64) time.Duration {
	return every + time.Duration(float64(every)*float64(h.Jitter)/100*(random-0.5))
}
