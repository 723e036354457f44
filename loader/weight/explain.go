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
	i, ok := p.slots[endpoint]
	if !ok {
		return Explanation{}, false
	}
	m, sum := p.members[i], lb.EffectiveWeight(0)
	for _, w := range p.Weights() {
		sum += w
	}
	e := Explanation{Endpoint: endpoint, Effective: m.effective(), Target: m.target()}
	if sum > 0 {
		e.Share = float64(e.Effective) / float64(sum)
	}
	e.Parts = []Part{m.configuredPart(now), p.healthPart(now, m), m.slowPart(now, p.settings), m.resourcePart(now), p.limitsPart(m)}
	return e, true
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
	case m.usable && m.health.Up:
		part.Why = "up"
	case m.usable:
		part.Why = "down, but too much of the pool is: " + p.panicWhy
	default:
		part.Value, part.Why = 0, "down"
	}
	return part
}

func (m *member) slowPart(now time.Time, s Settings) Part {
	part := Part{Name: "slow start", Value: m.slow, Why: "not starting"}
	if m.slow < 1 {
		part.Age = now.Sub(m.slowFrom)
		part.Why = fmt.Sprintf("%s of %s since it came up", part.Age.Round(time.Second), s.SlowStart)
	}
	return part
}

func (m *member) resourcePart(now time.Time) Part {
	part := Part{Name: "resources", Value: m.resources, Input: m.input, Why: m.why}
	if !m.reported.IsZero() {
		part.Age = now.Sub(m.reported)
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
