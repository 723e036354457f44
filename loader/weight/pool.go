package weight

import (
	"fmt"
	"net/netip"
	"time"

	"weir/loader/lb"
)

// Health is what checks say of a backend. The zero value is down.
type Health struct {
	Up  bool
	Why string // the last check's result
}

// Notice is something that people should hear of.
type Notice struct {
	Endpoint netip.AddrPort // the zero value: the pool
	Kind     NoticeKind
	Text     string
}

// NoticeKind is what a notice is about.
type NoticeKind string

// Kinds of notices.
const (
	PanicBegan      NoticeKind = "panic"
	PanicEnded      NoticeKind = "panic_over"
	CutOff          NoticeKind = "cut_off"
	CutOffEnded     NoticeKind = "cut_off_over"
	AgentSilent     NoticeKind = "agent_silent"
	AgentBack       NoticeKind = "agent_back"
	Doubted         NoticeKind = "doubted"
	OverrideExpired NoticeKind = "override_expired"
)

// Result is what a Step came to.
type Result struct {
	Changed bool    // Weights are other ones now
	Moved   float64 // part of all new flows that the law moved; not what health and operators did
	Notices []Notice
}

// unit is the published factor of 1.
const unit = float64(lb.EffectiveUnit)

// Pool follows the backends of one pool.
type Pool struct {
	settings Settings
	members  []*member
	slots    map[netip.AddrPort]int
	refused  map[Refusal]uint64
	lastMove time.Time
	moving   bool   // errors are being worked off
	panicWhy string // "": no panic
	notices  []Notice
}

// member is what is remembered of one backend.
type member struct {
	Backend
	override    *Override
	health      Health
	healthSince time.Time

	order    order
	reported time.Time // when the last report arrived; zero: none yet
	silent   bool
	held     float64 // resources when it fell silent
	estimate estimate
	observed observed
	doubt    doubt
	cutoff   cutoff

	base      lb.Weight // configured or override
	usable    bool      // by health and panic
	slowFrom  time.Time // zero: not starting
	slow      float64
	resources float64
	input     string // of resources
	why       string // of resources

	soft      int       // published slow start × resources, in 1/64
	published lb.Weight // base that was published, 0 if not usable
}

func newMember(b Backend) *member {
	return &member{
		Backend: b, health: Health{Up: true, Why: "not checked yet"}, usable: true,
		base: b.Configured, published: b.Configured,
		slow: 1, resources: 1, soft: int(unit), why: "no report yet",
	}
}

// NewPool starts with every backend up and at its configured weight.
func NewPool(s Settings, backends []Backend) (*Pool, error) {
	p := &Pool{refused: map[Refusal]uint64{}}
	if err := p.replace(s, backends, newMember); err != nil {
		return nil, err
	}
	return p, nil
}

// Configure takes over other settings and backends. Who stays keeps its state;
// who comes starts slowly. On error nothing has changed.
func (p *Pool) Configure(now time.Time, s Settings, backends []Backend) error {
	return p.replace(s, backends, func(b Backend) *member {
		i, stays := p.slots[b.Endpoint]
		if !stays {
			m := newMember(b)
			m.start(now, s)
			m.published = 0 // Step finds it changed
			return m
		}
		m := *p.members[i]
		if fmt.Sprint(m.Limits) != fmt.Sprint(b.Limits) {
			m.cutoff = cutoff{}
		}
		m.Backend = b
		return &m
	})
}

func (p *Pool) replace(s Settings, backends []Backend, member func(Backend) *member) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := checkBackends(backends); err != nil {
		return err
	}
	members, slots := newMembers(backends, member)
	p.settings, p.members, p.slots = s, members, slots
	return nil
}

func newMembers(backends []Backend, of func(Backend) *member) ([]*member, map[netip.AddrPort]int) {
	members := make([]*member, len(backends))
	slots := make(map[netip.AddrPort]int, len(backends))
	for i, b := range backends {
		members[i], slots[b.Endpoint] = of(b), i
	}
	return members, slots
}

func (p *Pool) member(endpoint netip.AddrPort) *member {
	if i, ok := p.slots[endpoint]; ok {
		return p.members[i]
	}
	return nil
}

// SetHealth takes what the checks of a backend say; of one that is not in the
// pool it is ignored. What changes, changes at the next Step.
func (p *Pool) SetHealth(now time.Time, endpoint netip.AddrPort, h Health) {
	m := p.member(endpoint)
	if m == nil {
		return
	}
	if h.Up != m.health.Up || m.healthSince.IsZero() {
		m.healthSince = now
	}
	if h.Up && !m.health.Up {
		m.start(now, p.settings)
	}
	m.health = h
}

// start begins a slow start. Until Step publishes it, the backend has no flows
// to lose, so its factor need not be approached in steps.
func (m *member) start(now time.Time, s Settings) {
	m.slow, m.slowFrom = 1, time.Time{}
	if s.SlowStart > 0 {
		m.slowFrom = now
		m.slow = s.Min
	}
	m.soft = quantum(m.slow*m.resources, 1)
}

// SetOverride puts an operator's weight in place of the configured one; nil
// takes it back.
func (p *Pool) SetOverride(endpoint netip.AddrPort, o *Override) {
	if m := p.member(endpoint); m != nil {
		m.override = o
	}
}

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
	if err := m.order.admit(r.Boot, r.Seq); err != nil {
		return err
	}
	if m.silent {
		p.notice(m, AgentBack, "reports again")
	}
	m.silent, m.reported = false, now
	was := m.cutoff.tripped
	m.take(now, p.settings, r)
	if is := m.cutoff.tripped; is != was {
		p.noticeCutoff(now, m, is != 0)
	}
	return nil
}

func (p *Pool) noticeCutoff(now time.Time, m *member, tripped bool) {
	if p.settings.Mode == Static {
		return
	}
	if tripped {
		p.notice(m, CutOff, "%s", m.cutoff.why(now, m.Limits))
	} else {
		p.notice(m, CutOffEnded, "within its limits again")
	}
}

// take learns from a report.
func (m *member) take(now time.Time, s Settings, r Report) {
	m.cutoff.sample(now, m.Limits, r.Values)
	if r.Rate == 0 {
		r.Rate = m.observed.rateAt(now.Add(-r.Age))
	}
	if util, ok := utilisation(m.Backend, s.Metric, r.Values); ok || s.Mode == Headroom {
		m.estimate.sample(now, s, r, util, free(m.Backend, s.Metric, r.Values))
	}
	m.input = fmt.Sprintf("%s %.3g, rate %.4g/s", s.Metric, r.Values[s.Metric], r.Rate)
}

// Traffic takes what was counted for a backend, about once in a second.
func (p *Pool) Traffic(now time.Time, endpoint netip.AddrPort, t Traffic) {
	if m := p.member(endpoint); m != nil {
		m.observed.add(now, t, p.settings.Smoothing)
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

// Weights are what is to be programmed, in the order of the backends.
func (p *Pool) Weights() []lb.EffectiveWeight {
	all := make([]lb.EffectiveWeight, len(p.members))
	for i, m := range p.members {
		all[i] = m.effective()
	}
	return all
}

func (m *member) effective() lb.EffectiveWeight {
	return lb.EffectiveWeight(m.published) * lb.EffectiveWeight(m.soft)
}

func (m *member) target() float64 { return m.slow * m.resources }

func (p *Pool) notice(m *member, kind NoticeKind, format string, args ...any) {
	n := Notice{Kind: kind, Text: fmt.Sprintf(format, args...)}
	if m != nil {
		n.Endpoint = m.Endpoint
	}
	p.notices = append(p.notices, n)
}
