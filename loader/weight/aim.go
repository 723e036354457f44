package weight

import (
	"fmt"
	"math"
	"slices"
	"time"

	"weir/loader/lb"
)

const (
	silentAfter = 3 // intervals without a report
	glideTime   = 30 * time.Second
)

// Step looks at everything as of now and moves weights. Call it about once in
// a second, and at once after a change of health or of an override.
func (p *Pool) Step(now time.Time) Result {
	p.expireOverrides(now)
	p.judgeHealth()
	p.aim(now)
	r := p.publish(now)
	p.restless = p.moving || p.settings.Mode != lb.ModeStatic || slices.ContainsFunc(p.members, (*member).restless)
	r.Notices, p.notices = p.notices, nil
	return r
}

func (m *member) restless() bool {
	return !m.slowFrom.IsZero() || m.override != nil && !m.override.Until.IsZero() ||
		m.signals != nil && !m.silent && !m.reported.IsZero()
}

func (p *Pool) expireOverrides(now time.Time) {
	for _, m := range p.members {
		if m.override != nil && m.override.Expired(now) {
			p.notice(m, OverrideExpired, "%s has expired", m.override)
			m.override = nil
		}
		m.base = Inputs{Configured: m.Configured, Override: m.override}.base()
	}
}

// judgeHealth says who is usable. If less than the panic threshold of the
// pool's weight is up, checks are taken to be at fault, not the backends.
func (p *Pool) judgeHealth() {
	var sum, up float64
	for _, m := range p.members {
		sum += float64(m.base)
		if m.well() {
			up += float64(m.base)
		}
	}
	was := p.panicWhy != ""
	panics := up < p.settings.Panic*sum
	p.panicWhy = ""
	if panics {
		p.panicWhy = fmt.Sprintf("%.0f %% of its weight is up, less than %.0f %%", 100*up/sum, 100*p.settings.Panic)
	}
	if panics && !was {
		p.notice(nil, PanicBegan, "%s; health is ignored", p.panicWhy)
	}
	if was && !panics {
		p.notice(nil, PanicEnded, "health counts again")
	}
	for _, m := range p.members {
		m.usable = m.well() || panics
	}
}

// aim says where each backend's slow start and resources are going.
func (p *Pool) aim(now time.Time) {
	for _, m := range p.members {
		m.aimSlow(now, p.settings)
		p.hear(now, m)
	}
	if p.settings.Mode == lb.ModeStatic {
		for _, m := range p.members {
			m.resources, m.why = 1, "weights are static"
		}
		return
	}
	p.aimResources(now)
	p.cutOff(now)
}

func (m *member) aimSlow(now time.Time, s lb.Law) {
	m.slow = 1
	if m.slowFrom.IsZero() {
		return
	}
	part := now.Sub(m.slowFrom).Seconds() / s.SlowStart.Seconds()
	if !(part < 1) || s.SlowStart <= 0 {
		m.slowFrom = time.Time{}
		return
	}
	m.slow = max(s.Min, part)
}

// hear notices who has fallen silent.
func (p *Pool) hear(now time.Time, m *member) {
	if m.signals == nil || m.silent || m.reported.IsZero() || now.Sub(m.reported) <= silentAfter*p.settings.Interval {
		return
	}
	m.silent, m.held = true, m.resources
	p.notice(m, AgentSilent, "no report for %s", now.Sub(m.reported).Round(time.Second))
}

// glide is the way back from what was held to the configured weight.
func (m *member) glide(now time.Time, s lb.Law) {
	silence := now.Sub(m.reported)
	part := min(1, (silence-silentAfter*s.Interval).Seconds()/glideTime.Seconds())
	m.resources = m.held + part*(1-m.held)
	m.why = fmt.Sprintf("no report for %s: back to the configured weight", silence.Round(time.Second))
}

// aimResources sets factors by capacity or headroom for those whose reports
// are fresh, and lets the others go back to 1.
func (p *Pool) aimResources(now time.Time) {
	var fresh []*member
	var busiest float64
	for _, m := range p.members {
		switch {
		case m.reported.IsZero():
			m.resources, m.why = 1, "no report yet"
		case m.silent:
			m.glide(now, p.settings)
		case p.claims(m):
			fresh = append(fresh, m)
			busiest = max(busiest, m.estimate.util.value)
		case p.settings.Mode == lb.ModeCutoff:
			m.resources, m.why = 1, "within its limits"
		default:
			m.resources, m.why = 1, "no traffic known yet to compare reports with"
		}
	}
	p.compare(now, fresh)
	trust := min(max((busiest-idleUtil)/(busyUtil-idleUtil), 0), 1)
	p.share(fresh, trust)
	p.doubtClaims(now, fresh)
	p.followPercents()
}

// followPercents takes what agents ask for themselves, within the bounds.
func (p *Pool) followPercents() {
	for _, m := range p.members {
		if m.percent == 0 || m.silent {
			continue
		}
		m.resources = min(max(m.resources*m.percent/100, p.settings.Min), p.settings.Max)
		m.why += fmt.Sprintf("; the agent asks for %.4g %%", m.percent)
	}
}

// claims reports whether a member takes part in sharing by its reports.
func (p *Pool) claims(m *member) bool {
	switch {
	case m.base == 0 || !m.usable || m.cutoff.tripped != 0:
		return false
	case p.settings.Mode == lb.ModeCapacity:
		return m.estimate.fresh || m.estimate.capacity.known()
	}
	return p.settings.Mode == lb.ModeHeadroom && m.estimate.headroom.known()
}

// compare holds the reports of a pool against each other.
func (p *Pool) compare(now time.Time, fresh []*member) {
	var base, rate, util float64
	for _, m := range fresh {
		base += float64(m.base)
		rate += m.estimate.rate.value
		util += float64(m.base) * m.estimate.util.value
	}
	for _, m := range fresh {
		m.estimate.compare(now, float64(m.base), rate/base, util/base)
	}
}

func (p *Pool) share(fresh []*member, trust float64) {
	weights, claims := make([]float64, len(fresh)), make([]float64, len(fresh))
	for i, m := range fresh {
		weights[i], claims[i] = float64(m.base), p.claim(m)
	}
	for i, f := range project(weights, claims, p.settings.Min, p.settings.Max) {
		m := fresh[i]
		m.resources = 1 + trust*(f-1)
		m.why = fmt.Sprintf("%s %.2f of the mean", p.settings.Mode, f)
		if trust < 1 {
			m.why += fmt.Sprintf(", counted by %.2f as the pool is idle", trust)
		}
	}
}

// claim is what a backend could take, for each of its configured weight.
func (p *Pool) claim(m *member) float64 {
	if p.settings.Mode == lb.ModeHeadroom {
		return math.Exp(m.estimate.headroom.value)
	}
	return math.Exp(m.estimate.capacity.value)
}

// doubtClaims compares what reports say with what traffic shows.
func (p *Pool) doubtClaims(now time.Time, fresh []*member) {
	var stretches []float64
	for _, m := range p.members {
		if s, ok := m.observed.stretch(); ok && m.usable {
			stretches = append(stretches, s)
		}
	}
	usual := max(1, median(stretches)) // under 1 it is the end of an overload
	for _, m := range fresh {
		if s, ok := m.observed.stretch(); ok && m.doubt.consider(now, m.resources, s, usual, m.observed.noise()) {
			p.notice(m, Doubted, "reports room, but flows stay %.1f times longer there than elsewhere", m.doubt.stretch)
		}
		if most := m.doubt.ceiling(now); m.resources > most {
			m.resources = most
			m.why = fmt.Sprintf("reports room for more, but flows stayed %.1f times longer than elsewhere %s ago; not believed over %.2f",
				m.doubt.stretch, now.Sub(m.doubt.since).Round(time.Second), most)
		}
	}
}

// cutOff takes who is over a limit out, unless too little would be left.
func (p *Pool) cutOff(now time.Time) {
	var sum, left float64
	for _, m := range p.members {
		sum += float64(m.base)
		if m.usable && !m.isCut() {
			left += float64(m.base)
		}
	}
	ignored := left == 0 || left < p.settings.Panic*sum
	for _, m := range p.members {
		if !m.isCut() {
			continue
		}
		m.why = m.cutoff.why(now, m.limits)
		if m.resources = 0; ignored {
			m.resources = 1
			m.why += fmt.Sprintf("; but only %.0f %% of the pool would be left, less than %.0f %%", 100*left/sum, 100*p.settings.Panic)
		}
	}
}

func (m *member) isCut() bool { return m.cutoff.tripped != 0 && !m.silent }
