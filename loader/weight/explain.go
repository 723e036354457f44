package weight

import (
	"fmt"
	"net/netip"
	"time"

	"weir/loader/lb"
)

// Part is one factor of an effective weight.
type Part struct {
	Name  string        // configured, override, health, slow start, resources, limits
	Value float64       // what it multiplies by
	Input string        // what it was made from, "" if nothing
	Age   time.Duration // of the input
	Why   string
}

// Explanation is how a backend got its effective weight: the product of the
// parts, in 1/64.
type Explanation struct {
	Endpoint  netip.AddrPort
	Parts     []Part
	Effective lb.EffectiveWeight
	Share     float64 // of the pool's new flows, where weights count
	Target    float64 // slow start × resources, where Effective is going
}

// Explain says how a backend's weight came about; false if it is not in the pool.
func (p *Pool) Explain(now time.Time, endpoint netip.AddrPort) (Explanation, bool) {
	m := p.member(endpoint)
	if m == nil {
		return Explanation{}, false
	}
	return p.explain(now, m, p.sum()), true
}

// ExplainAll is Explain for each backend, in their order.
func (p *Pool) ExplainAll(now time.Time) []Explanation {
	all, sum := make([]Explanation, len(p.members)), p.sum()
	for i, m := range p.members {
		all[i] = p.explain(now, m, sum)
	}
	return all
}

func (p *Pool) sum() (sum lb.EffectiveWeight) {
	for _, m := range p.members {
		sum += m.effective()
	}
	return sum
}

func (p *Pool) explain(now time.Time, m *member, sum lb.EffectiveWeight) Explanation {
	e := Explanation{Endpoint: m.Endpoint, Effective: m.effective(), Target: m.target()}
	if sum > 0 {
		e.Share = float64(e.Effective) / float64(sum)
	}
	e.Parts = []Part{m.configuredPart(now), p.healthPart(now, m), m.slowPart(now, p.settings), m.resourcePart(now), p.limitsPart(m)}
	return e
}

func (m *member) configuredPart(now time.Time) Part {
	if m.override == nil {
		return Part{Name: "configured", Value: float64(m.Configured), Why: "from the configuration"}
	}
	return Part{Name: "override", Value: float64(m.base), Input: m.override.describe(now),
		Why: fmt.Sprintf("an operator set it; configured is %d", m.Configured)}
}

func (p *Pool) healthPart(now time.Time, m *member) Part {
	part := Part{Name: "health", Value: 1, Input: m.health.Why}
	if !m.healthSince.IsZero() {
		part.Age = now.Sub(m.healthSince)
	}
	switch {
	case m.well():
		part.Why = "up"
	case m.usable:
		part.Why = m.unwell() + ", but too much of the pool is: " + p.panicWhy
	default:
		part.Value, part.Why = 0, m.unwell()
	}
	return part
}

func (m *member) unwell() string {
	switch {
	case m.health.Pending:
		return "not checked yet"
	case !m.health.Up:
		return "down"
	}
	return "its agent says " + m.out
}

func (m *member) slowPart(now time.Time, s lb.Law) Part {
	part := Part{Name: "slow start", Value: m.slow, Why: "not starting"}
	if m.slow < 1 {
		part.Age = now.Sub(m.slowFrom)
		part.Why = fmt.Sprintf("%s of %s since it came up", part.Age.Round(time.Second), s.SlowStart)
	}
	return part
}

func (m *member) resourcePart(now time.Time) Part {
	part := Part{Name: "resources", Value: m.resources, Why: m.why}
	if m.signals != nil && !m.reported.IsZero() {
		part.Input, part.Age = m.input, now.Sub(m.reported)
	}
	return part
}

// limitsPart is what steps and the dead band still keep from the target.
func (p *Pool) limitsPart(m *member) Part {
	part := Part{Name: "limits", Value: 1, Why: "at the target"}
	published, target := float64(m.soft)/unit, m.target()
	if published == target {
		return part
	}
	if target > 0 {
		part.Value = published / target
	}
	part.Input = fmt.Sprintf("%.3f published, %.3f wanted", published, target)
	switch {
	case m.aimed(p.settings) == m.soft:
		part.Why = "rounded to 1/64"
	case p.moving:
		part.Why = fmt.Sprintf("on the way: at most %.2g a step, %.2g of the table together", p.settings.Step, p.settings.MaxMove)
	default:
		part.Why = fmt.Sprintf("left as it is: no error in the pool is over %.2g", p.settings.DeadBand)
	}
	return part
}
