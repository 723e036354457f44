package weight

import (
	"math"
	"time"

	"weir/loader/lb"
)

// early is the part of the hold-off by which a Step may come too soon: tickers
// are never quite even, and one that is a little early shall not cost a turn.
const early = 20

// publish moves the published weights. What health and operators decide is in
// force at once; slow start and resources move in steps, not often, and only
// if it is worth it.
func (p *Pool) publish(now time.Time) Result {
	var r Result
	for _, m := range p.members {
		hard := m.base
		if !m.usable {
			hard = 0
		}
		if hard != m.published {
			m.published, r.Changed = hard, true
		}
	}
	if !p.lastMove.IsZero() && now.Sub(p.lastMove) < p.settings.HoldOff-p.settings.HoldOff/early {
		return r
	}
	if !p.worthMoving() {
		return r
	}
	next := p.next()
	r.Moved, p.moving = p.moved(next), false
	for i, m := range p.members {
		if next[i] != m.soft {
			m.soft, r.Changed, p.lastMove = next[i], true, now
		}
		p.moving = p.moving || m.soft != m.aimed(p.settings)
	}
	return r
}

// worthMoving is a dead band with memory: an error over it, and over what
// rounding makes, starts moving, and moving goes on until the targets are
// reached.
func (p *Pool) worthMoving() bool {
	for _, m := range p.members {
		off := math.Abs(m.target()*unit - float64(m.soft))
		if m.target() == 1 && off > 0 {
			p.moving = true // nothing is known that speaks against the configured weight
		}
		if m.published != 0 && off > max(1, p.settings.DeadBand*float64(m.soft)) || (m.target() == 0) != (m.soft == 0) {
			p.moving = true
		}
	}
	return p.moving
}

// aimed is the target in 1/64.
func (m *member) aimed(s lb.Law) int {
	low := 1
	if m.slow == 1 && m.resources > 0 {
		low = int(math.Ceil(s.Min * unit))
	}
	return quantum(m.target(), low)
}

// quantum rounds a factor; only 0 gives less than low.
func quantum(factor float64, low int) int {
	if !(factor > 0) {
		return 0
	}
	return max(low, int(math.Round(min(factor, lb.MaxFactor)*unit)))
}

// next is one step towards the targets: the longest of which no factor changes
// by more than Step and no more than MaxMove of the table moves.
func (p *Pool) next() []int {
	step := max(1, int(p.settings.Step*unit))
	full := make([]int, len(p.members))
	for i, m := range p.members {
		full[i] = m.soft + min(max(m.aimed(p.settings)-m.soft, -step), step)
	}
	if p.moved(full) <= p.settings.MaxMove {
		return full
	}
	low, high := 0.0, 1.0
	for range 20 {
		if mid := (low + high) / 2; p.moved(p.towards(full, mid)) <= p.settings.MaxMove {
			low = mid
		} else {
			high = mid
		}
	}
	return p.towards(full, low)
}

// towards goes a part of the way.
func (p *Pool) towards(full []int, part float64) []int {
	next := make([]int, len(full))
	for i, m := range p.members {
		next[i] = m.soft + int(part*float64(full[i]-m.soft))
	}
	return next
}

// moved is how much of the table other factors would give to other backends:
// half of what the shares change by.
func (p *Pool) moved(next []int) float64 {
	var before, after float64
	for i, m := range p.members {
		before += float64(m.published) * float64(m.soft)
		after += float64(m.published) * float64(next[i])
	}
	if before == 0 || after == 0 {
		return 0
	}
	var sum float64
	for i, m := range p.members {
		w := float64(m.published)
		sum += math.Abs(w*float64(next[i])/after - w*float64(m.soft)/before)
	}
	return sum / 2
}
