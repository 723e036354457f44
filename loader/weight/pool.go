package weight

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"weir/loader/lb"
)

// Health is what checks say of a backend. The zero value is down.
type Health struct {
	Up      bool
	Pending bool   // down only because no check has ended yet: what follows is no comeback
	Why     string // the last check's result
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
	AgentOut        NoticeKind = "agent_out"
	AgentReady      NoticeKind = "agent_ready"
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
	settings lb.Law
	members  []*member
	slots    map[netip.AddrPort]int
	refused  map[Refusal]uint64
	lastMove time.Time
	moving   bool   // errors are being worked off
	panicWhy string // "": no panic
	restless bool
	notices  []Notice
}

// member is what is remembered of one backend.
type member struct {
	Backend
	override    *Override
	health      Health
	healthSince time.Time

	*signals // nil where nothing was said: they take kilobytes

	base      lb.Weight // configured or override
	usable    bool      // by health and panic
	slowFrom  time.Time // zero: not starting
	slow      float64
	resources float64
	why       string // of resources

	soft      int       // published slow start × resources, in 1/64
	published lb.Weight // base that was published, 0 if not usable
}

// signals are what an agent and traffic said of a backend. A pool that follows
// reports has them for each.
type signals struct {
	order    order
	reported time.Time // when the last report arrived; zero: none yet
	silent   bool
	held     float64 // resources when it fell silent
	out      string  // the state in which the agent takes no new flows, "": in service
	percent  float64 // of its weight, as the agent asks for; 0: does not
	estimate estimate
	observed observed
	doubt    doubt
	limits   []lb.Limit // configured ones, and the agent's own
	cutoff   cutoff
	input    string // of resources
}

func newMember(b Backend) *member {
	return &member{
		Backend: b, health: Health{Up: true, Why: "not checked"}, usable: true,
		base: b.Configured, published: b.Configured,
		slow: 1, resources: 1, soft: int(unit), why: "no report yet",
	}
}

// listen makes room for signals.
func (m *member) listen() *signals {
	if m.signals == nil {
		m.signals = &signals{}
	}
	return m.signals
}

// well reports whether neither checks nor its own agent take it out.
func (m *member) well() bool { return m.health.Up && (m.signals == nil || m.out == "") }

// NewPool starts with every backend up and at its configured weight.
func NewPool(s lb.Law, backends []Backend) (*Pool, error) {
	p := &Pool{refused: map[Refusal]uint64{}}
	if err := p.replace(s, backends, newMember); err != nil {
		return nil, err
	}
	return p, nil
}

// With is a pool of other settings and backends that goes on where p is. Who
// stays keeps its state; who comes starts slowly. p can be used again if what
// With gave is used no more.
func (p *Pool) With(now time.Time, s lb.Law, backends []Backend) (*Pool, error) {
	next := *p
	err := next.replace(s, backends, func(b Backend) *member {
		i, stays := p.slots[b.Endpoint]
		if !stays {
			m := newMember(b)
			m.start(now, s)
			m.published = 0 // Step finds it changed
			return m
		}
		m := *p.members[i]
		if m.signals != nil {
			own := *m.signals
			m.signals = &own
			if !slices.Equal(m.Limits, b.Limits) {
				m.cutoff = cutoff{}
			}
		}
		m.Backend = b
		return &m
	})
	return &next, err
}

func (p *Pool) replace(s lb.Law, backends []Backend, member func(Backend) *member) error {
	if err := s.Check(); err != nil {
		return err
	}
	if err := checkBackends(backends); err != nil {
		return err
	}
	members, slots := newMembers(backends, member)
	if s.Mode != lb.ModeStatic {
		for _, m := range members {
			m.listen()
		}
	}
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
	if m == nil || h == m.health {
		return
	}
	if h.Up != m.health.Up || m.healthSince.IsZero() {
		m.healthSince = now
	}
	if h.Up && !m.health.Up && !m.health.Pending {
		m.start(now, p.settings)
	}
	m.health = h
}

// start begins a slow start. Until Step publishes it, the backend has no flows
// to lose, so its factor need not be approached in steps.
func (m *member) start(now time.Time, s lb.Law) {
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

// Restless reports whether a later Step may change something though nothing is
// told to the pool until then.
func (p *Pool) Restless() bool { return p.restless }

// Panics reports whether so much of the pool is down that health is ignored.
func (p *Pool) Panics() bool { return p.panicWhy != "" }

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
