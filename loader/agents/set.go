package agents

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"weir/agent/report"
)

// heardRoom is how many reports may wait to be taken: a second's of many
// agents.
const heardRoom = 1024

// Set is the agents that are asked. Its methods may be called from any
// goroutine.
type Set struct {
	open    func(source) (asker, error)
	epoch   time.Time // of ticks
	heard   chan Heard
	changed chan struct{} // sources are other ones than Run knows

	mu       sync.Mutex
	sources  map[source]*poll
	byKey    map[Key]*poll
	answers  uint64
	failures map[Reason]uint64
}

// poll is one agent and what is known of it; all but asker is guarded by
// Set.mu.
type poll struct {
	source source
	asker  asker
	keys   []Key
	status Status
	stop   context.CancelFunc // nil: not begun
}

// Counts are what a Set did since it was made.
type Counts struct {
	Agents   int
	Reports  uint64            // that arrived, each agent's once
	Failures map[Reason]uint64 // answers that were none
}

// NewSet makes an empty set; nobody is asked before Run.
func NewSet() *Set {
	p := newPace()
	return &Set{
		open:  func(s source) (asker, error) { return open(s, p) },
		epoch: time.Now(),
		heard: make(chan Heard, heardRoom), changed: make(chan struct{}, 1),
		sources: map[source]*poll{}, byKey: map[Key]*poll{}, failures: map[Reason]uint64{},
	}
}

// Heard delivers the reports of the backends that are watched.
func (s *Set) Heard() <-chan Heard { return s.heard }

// Watch replaces who is asked. An agent that stays is asked on as before. On an
// error all stays as it was.
func (s *Set) Watch(targets []Target) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, byKey := map[source]*poll{}, make(map[Key]*poll, len(targets))
	keys := map[source][]Key{}
	for _, t := range targets {
		if byKey[t.Key] != nil {
			return fmt.Errorf("agent of %s: there are two", t.Key)
		}
		src := t.source()
		if next[src] == nil {
			p, err := s.pollOf(src)
			if err != nil {
				return fmt.Errorf("agent of %s: %w", t.Key, err)
			}
			next[src] = p
		}
		byKey[t.Key], keys[src] = next[src], append(keys[src], t.Key)
	}
	for src, p := range s.sources {
		if next[src] == nil && p.stop != nil {
			p.stop()
		}
	}
	for src, p := range next {
		p.keys = keys[src]
	}
	s.sources, s.byKey = next, byKey
	s.wake()
	return nil
}

func (s *Set) pollOf(src source) (*poll, error) {
	if p := s.sources[src]; p != nil {
		return p, nil
	}
	a, err := s.open(src)
	if err != nil {
		return nil, err
	}
	return &poll{source: src, asker: a, status: Status{Address: src.address, Protocol: src.agent.Protocol}}, nil
}

func (s *Set) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run asks until ctx ends, and returns when nobody is asked any more.
func (s *Set) Run(ctx context.Context) error {
	var asking sync.WaitGroup
	defer asking.Wait()
	for {
		s.begin(ctx, &asking)
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		}
	}
}

func (s *Set) begin(ctx context.Context, asking *sync.WaitGroup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.sources {
		if p.stop != nil {
			continue
		}
		ctx, stop := context.WithCancel(ctx)
		p.stop = stop
		asking.Go(func() {
			defer stop()
			defer p.asker.close()
			s.follow(ctx, p)
		})
	}
}

// follow asks one agent at its interval. Each agent has a phase of its own, so
// that many of one interval make an even stream.
func (s *Set) follow(ctx context.Context, p *poll) {
	every := p.source.agent.Interval
	due := time.Now().Add(rand.N(every)) //nolint:gosec // spreads load
	timer := time.NewTimer(s.until(due))
	defer timer.Stop()
	failed := 0 // in a row
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if s.ask(ctx, p) {
			failed = 0
		} else {
			failed++
		}
		// A missed turn is left out, not made up for.
		for due = due.Add(pause(every, failed)); due.Before(time.Now()); {
			due = due.Add(every)
		}
		timer.Reset(s.until(due))
	}
}

// tick is what questions wait for: those of one begin together, which spares
// this host a wake-up for each.
const tick = 20 * time.Millisecond

// until is how long it is to the tick of a time.
func (s *Set) until(due time.Time) time.Duration {
	ticks := (due.Sub(s.epoch) + tick - 1) / tick
	return time.Until(s.epoch.Add(ticks * tick))
}

// patience is how many failures in a row change nothing: after so many
// intervals an agent counts as silent.
const patience = 3

// pause is the time until an agent is asked again. Who fails on is asked less
// and less often, down to an eighth: else thousands that a busy moment
// disconnected would, with their handshakes, make the next one as busy.
func pause(every time.Duration, failed int) time.Duration {
	return every << min(max(failed-patience, 0), 3)
}

// ask reports whether there was a report.
func (s *Set) ask(ctx context.Context, p *poll) bool {
	limited, cancel := context.WithTimeout(ctx, p.source.agent.Timeout)
	defer cancel()
	begin := time.Now()
	r, err := p.asker.ask(limited)
	if ctx.Err() != nil {
		return false
	}
	now := time.Now()
	for _, k := range s.note(p, begin, now, r, err) {
		select {
		case s.heard <- Heard{k, now, toLaw(r, now.Sub(begin))}:
		case <-ctx.Done():
			return false
		}
	}
	return err == nil
}

// note remembers an answer and says whose report it is.
func (s *Set) note(p *poll, begin, now time.Time, r report.Report, err error) []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &p.status
	st.Asked, st.Took, st.Err = begin, now.Sub(begin), err
	if err != nil {
		st.Failures++
		s.failures[reasonOf(err)]++
		return nil
	}
	st.Answers++
	st.At, st.Values = now, r
	s.answers++
	return p.keys
}

// Status is what is known of a backend's agent, and false if it has none.
func (s *Set) Status(k Key) (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byKey[k]
	if p == nil {
		return Status{}, false
	}
	return p.status, true
}

// Counts may be called at any time.
func (s *Set) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Counts{Agents: len(s.sources), Reports: s.answers, Failures: maps.Clone(s.failures)}
}
