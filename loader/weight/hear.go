package weight

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/loader/lb"
)

// Report takes an agent's report. One that is refused is counted and changes
// nothing; the error is a *RefusedError.
func (p *Pool) Report(now time.Time, endpoint netip.AddrPort, r Report) error {
	err := p.report(now, endpoint, r)
	if e, ok := err.(*RefusedError); ok { //nolint:errorlint // made here, never wrapped
		p.refused[e.Why]++
	}
	return err
}

func (p *Pool) report(now time.Time, endpoint netip.AddrPort, r Report) error {
	m := p.member(endpoint)
	if m == nil {
		return refuse(NotABackend, "%s is not in the pool", endpoint)
	}
	if err := r.check(); err != nil {
		return err
	}
	m.listen()
	if err := m.order.admit(r.Boot, r.Seq); err != nil {
		return err
	}
	if m.silent {
		p.notice(m, AgentBack, "reports again")
	}
	m.silent, m.reported = false, now
	p.noticeState(m, r.Out)
	m.out, m.percent = r.Out, r.Percent
	was := m.cutoff.tripped
	m.take(now, p.settings, r)
	if is := m.cutoff.tripped; is != was {
		p.noticeCutoff(now, m, is != 0)
	}
	return nil
}

func (p *Pool) noticeState(m *member, out string) {
	switch out {
	case m.out:
	case "":
		p.notice(m, AgentReady, "its agent says that it is in service again")
	default:
		p.notice(m, AgentOut, "its agent says %s", out)
	}
}

func (p *Pool) noticeCutoff(now time.Time, m *member, tripped bool) {
	if p.settings.Mode == lb.ModeStatic {
		return
	}
	if tripped {
		p.notice(m, CutOff, "%s", m.cutoff.why(now, m.limits))
	} else {
		p.notice(m, CutOffEnded, "within its limits again")
	}
}

// take learns from a report.
func (m *member) take(now time.Time, s lb.Law, r Report) {
	m.limits = limitsOf(m.Limits, r.MaxConn)
	m.cutoff.sample(now, m.limits, m.limited(r))
	if r.Rate == 0 {
		r.Rate = m.observed.rateAt(now.Add(-r.Age))
	}
	if util, ok := utilisation(m.Backend, s.Metric, r.Values); ok || s.Mode == lb.ModeHeadroom {
		m.estimate.sample(now, s, r, util, free(m.Backend, s.Metric, r.Values))
	}
	m.input = describe(s.Metric, m.limits, r)
}

// limitsOf adds to the configured limits the number of connections that an agent
// says it takes; the lower one counts.
func limitsOf(configured []lb.Limit, maxConn float64) []lb.Limit {
	if maxConn == 0 {
		return configured
	}
	own := lb.CountLimit(lb.MetricConnections, maxConn)
	for i, l := range configured {
		if l.Metric != own.Metric {
			continue
		}
		if l.Max <= own.Max {
			return configured
		}
		all := slices.Clone(configured)
		all[i] = own
		return all
	}
	return append(slices.Clip(configured), own)
}

// limited is what limits are held against. An agent that does not count its
// connections is taken to have those that were counted here.
func (m *member) limited(r Report) map[string]float64 {
	if _, counted := r.Values[lb.MetricConnections]; counted || r.MaxConn == 0 || m.observed.at.IsZero() {
		return r.Values
	}
	values := maps.Clone(r.Values)
	if values == nil {
		values = map[string]float64{}
	}
	values[lb.MetricConnections] = float64(m.observed.last.Active)
	return values
}

// describe shows what counts of a report.
func describe(metric string, limits []lb.Limit, r Report) string {
	var parts []string
	if v, known := r.Values[metric]; known {
		parts = append(parts, fmt.Sprintf("%s %.3g", metric, v))
	}
	for _, l := range limits {
		if v, known := r.Values[l.Metric]; known && l.Metric != metric {
			parts = append(parts, fmt.Sprintf("%s %.3g", l.Metric, v))
		}
	}
	if r.Rate > 0 {
		parts = append(parts, fmt.Sprintf("rate %.4g/s", r.Rate))
	}
	return strings.Join(parts, ", ")
}

// Traffic takes what was counted for a backend, about once in a second.
func (p *Pool) Traffic(now time.Time, endpoint netip.AddrPort, t Traffic) {
	if m := p.member(endpoint); m != nil {
		m.listen().observed.add(now, t, p.settings.Smoothing)
	}
}

// Refused counts the reports that were not taken.
func (p *Pool) Refused() map[Refusal]uint64 {
	all := make(map[Refusal]uint64, len(p.refused))
	for why, n := range p.refused {
		all[why] = n
	}
	return all
}
