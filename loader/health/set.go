package health

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Options are what a Set needs. The zero value of each field stands for what
// its comment names.
type Options struct {
	Open        func(Target) (Checker, error) // makes a target's checker; Open
	ByVIP       Reacher                       // probes by VIP; without, they fail as this host's fault
	SYN         Knocker                       // spares connections to ports that answer a SYN; without, none
	Concurrency int                           // most probes at once; 8192
	Seed        uint64                        // of phases and jitter; the time
}

// tick is how long the loop sleeps at least: probes that are due in the same
// tick begin together, which spares this host a wake-up for each.
const tick = 20 * time.Millisecond

func (o Options) withDefaults() Options {
	if o.Open == nil {
		o.Open = func(t Target) (Checker, error) { return open(t, o.ByVIP) }
	}
	if o.Concurrency == 0 {
		o.Concurrency = 8192
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	return o
}

// Set is the targets that are checked. Its methods may be called from any
// goroutine.
type Set struct {
	opts    Options
	wake    chan struct{} // something is due sooner than the loop expects
	changed chan struct{}
	probes  sync.WaitGroup

	mu       sync.Mutex
	ctx      context.Context // of Run; nil: it has ended, or not begun
	checks   map[Key]*check
	agenda   *agenda
	running  int
	expects  time.Time // when the loop looks again
	counts   Counts
	failures map[Reason]uint64
}

// check is one target and what is known of it. All but target is guarded by
// Set.mu; a new target makes a new check.
type check struct {
	target  Target
	checker Checker
	knock   *knock // nil: it is not enough that a SYN is answered

	machine   machine
	suspected bool
	gone      bool // no longer watched: a probe that is under way changes nothing
	last      time.Time
	took      time.Duration
	err       error
	report    Report
	checks    uint64
	failures  uint64

	due   time.Time
	index int // in the agenda, -1: a probe is under way
}

// Counts are what a Set did since it was made. All but Running and Targets
// only grow.
type Counts struct {
	Targets  int
	Running  int    // probes under way
	Checks   uint64 // probes that ended
	Changes  uint64 // of state
	Late     uint64 // probes that began later than due by more than their fast interval
	Failures map[Reason]uint64
}

// NewSet makes an empty set; nothing is probed before Run.
func NewSet(o Options) *Set {
	o = o.withDefaults()
	return &Set{
		opts: o, wake: make(chan struct{}, 1), changed: make(chan struct{}, 1),
		checks: map[Key]*check{}, agenda: newAgenda(o.Seed), failures: map[Reason]uint64{},
	}
}

// Watch replaces what is checked. A target that stays keeps its state, also
// when how it is checked changes. On an error all stays as it was.
func (s *Set) Watch(targets []Target) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[Key]*check, len(targets))
	for _, t := range targets {
		if _, twice := next[t.Key]; twice {
			return fmt.Errorf("health check of %s: there are two", t.Key)
		}
		c, err := s.checkOf(t)
		if err != nil {
			return fmt.Errorf("health check of %s: %w", t.Key, err)
		}
		next[t.Key] = c
	}
	s.replace(next)
	return nil
}

// checkOf is the check of a target: the one there is if nothing changes.
func (s *Set) checkOf(t Target) (*check, error) {
	old := s.checks[t.Key]
	if old != nil && old.target.equal(t) {
		return old, nil
	}
	checker, err := s.opts.Open(t)
	if err != nil {
		return nil, err
	}
	c := &check{target: t, checker: checker, index: -1}
	c.knock = s.knockOf(c)
	if old != nil {
		c.machine, c.last, c.took, c.err = old.machine, old.last, old.took, old.err
		c.report, c.checks, c.failures = old.report, old.checks, old.failures
	}
	c.machine.rise, c.machine.fall = t.Health.Rise, t.Health.Fall
	return c, nil
}

func (s *Set) replace(next map[Key]*check) {
	now := time.Now()
	for k, c := range s.checks {
		if next[k] != c {
			c.gone = true
			s.agenda.drop(c)
		}
	}
	for k, c := range next {
		if s.checks[k] != c {
			s.agenda.first(c, now)
		}
	}
	s.checks = next
	signal(s.wake)
	signal(s.changed)
}

// Run probes until ctx ends, and returns when the last probe has.
func (s *Set) Run(ctx context.Context) error {
	s.during(ctx)
	defer s.probes.Wait()
	defer s.ended()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.wake:
		}
		due, wait := s.launch(ctx)
		s.send(due)
		timer.Reset(wait)
	}
}

func (s *Set) during(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx = ctx
}

func (s *Set) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx = nil
}

// launch begins the probes that are due, but for those that begin with a SYN,
// and says how long nothing is.
func (s *Set) launch(ctx context.Context) (knocks []*check, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for s.running < s.opts.Concurrency {
		c := s.agenda.take(now)
		if c == nil {
			break
		}
		if now.Sub(c.due) > c.target.Health.FastInterval {
			s.counts.Late++
		}
		s.running++
		c.suspected = false
		if c.knock.helps(now) {
			knocks = append(knocks, c)
			continue
		}
		s.probes.Go(func() { s.probe(ctx, c, time.Now()) })
	}
	wait = s.untilNext(now)
	s.expects = now.Add(wait)
	return knocks, wait
}

func (s *Set) untilNext(now time.Time) time.Duration {
	due, some := s.agenda.next()
	if !some || s.running >= s.opts.Concurrency {
		return time.Hour // whatever ends or is added wakes the loop
	}
	return max(due.Sub(now), tick)
}

// probe ends a probe that began then.
func (s *Set) probe(ctx context.Context, c *check, begin time.Time) {
	limited, cancel := context.WithDeadline(ctx, begin.Add(c.target.Health.Timeout))
	report, err := c.checker.Check(limited)
	cancel()
	stopped := ctx.Err() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if stopped {
		s.running--
		return
	}
	c.knock.heard(begin, err)
	s.take(c, begin, report, err)
}

// take notes the result of a probe.
func (s *Set) take(c *check, begin time.Time, report Report, err error) {
	s.running--
	if c.gone {
		signal(s.wake)
		return
	}
	now := time.Now()
	c.last, c.took, c.report, c.err = begin, now.Sub(begin), report, err
	c.checks++
	s.counts.Checks++
	reason := Reason("")
	if err != nil {
		reason = reasonFor(err)
		c.failures++
		s.failures[reason]++
	}
	// What this host could not do says nothing about the backend.
	if reason != ReasonLocal && c.machine.observe(now, err == nil) {
		s.counts.Changes++
		signal(s.changed)
	}
	s.agenda.again(c, c.due, now)
	if due, _ := s.agenda.next(); due.Before(s.expects) {
		signal(s.wake)
	}
}

// Suspect says that traffic met trouble with a target: a probe is made soon,
// within the fast interval, whatever the schedule. It decides nothing by
// itself.
func (s *Set) Suspect(k Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.checks[k]
	if c == nil || c.suspected {
		return
	}
	c.suspected = true
	earliest := c.last.Add(c.target.Health.FastInterval)
	if now := time.Now(); earliest.Before(now) {
		earliest = now
	}
	s.agenda.sooner(c, earliest)
	signal(s.wake)
}

// Changes gets a value, coalesced, whenever States may answer differently.
func (s *Set) Changes() <-chan struct{} { return s.changed }

// States is the state of each target.
func (s *Set) States() map[Key]State {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[Key]State, len(s.checks))
	for k, c := range s.checks {
		all[k] = c.machine.state
	}
	return all
}

// Status is what is known of one target, and false if it is not watched.
func (s *Set) Status(k Key) (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.checks[k]
	if !ok {
		return Status{}, false
	}
	return c.status(), true
}

// Statuses is what is known of all targets, by pool, endpoint and VIP.
func (s *Set) Statuses() []Status {
	s.mu.Lock()
	all := make([]Status, 0, len(s.checks))
	for c := range maps.Values(s.checks) {
		all = append(all, c.status())
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b Status) int { return a.Target.compare(b.Target.Key) })
	return all
}

// Counts may be called at any time.
func (s *Set) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.Targets, c.Running, c.Failures = len(s.checks), s.running, maps.Clone(s.failures)
	return c
}

func (c *check) status() Status {
	return Status{
		Target: c.target, State: c.machine.state, Since: c.machine.since, Streak: c.machine.streak,
		HeldUntil: c.machine.heldUntil(), Last: c.last, Took: c.took, Err: c.err, Report: c.report,
		Checks: c.checks, Failures: c.failures,
	}
}

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Pool, o.Pool), k.Endpoint.Compare(o.Endpoint), k.VIP.Compare(o.VIP))
}

// signal leaves one value in a channel with room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
