package health

import (
	"syscall"
	"time"

	"weir/loader/health/syn"
)

// Knocker sends SYNs. Each target hears of its own once, also while Send runs;
// on an error none does, now or ever.
type Knocker interface {
	Send([]*syn.Target) error
}

const (
	// A check with less time than this connects at once.
	leastForKnock = 2 * syn.Patience
	// A target that answers connections and, so often in a row, no SYNs of ours,
	// as behind a firewall that translates addresses, is connected to for so long.
	knockMisses = 3
	knockPause  = time.Minute
)

// knock is a check's way to find out by a SYN alone that a connection would be
// accepted. All but target is guarded by Set.mu.
type knock struct {
	target *syn.Target
	begin  time.Time
	silent bool      // nobody answered the SYN of the probe that is under way
	misses int       // SYNs in a row without an answer before connections that had one
	after  time.Time // no SYN is sent before
}

// knockOf is nil for checks that are not content with a SYN's answer, and on a
// host that cannot send any.
func (s *Set) knockOf(c *check) *knock {
	t := c.target
	if s.opts.SYN == nil || t.VIP.IsValid() || !t.Health.OnlyConnects() || t.Health.Timeout < leastForKnock {
		return nil
	}
	return &knock{target: syn.NewTarget(t.Address, func(o syn.Outcome) { s.answered(c, o) })}
}

// helps reports whether a probe that begins now begins with a SYN.
func (k *knock) helps(now time.Time) bool { return k != nil && !now.Before(k.after) }

// send sends the SYNs of probes.
func (s *Set) send(due []*check) {
	if len(due) == 0 {
		return
	}
	targets := make([]*syn.Target, len(due))
	for i, c := range due {
		c.knock.begin, targets[i] = time.Now(), c.knock.target
	}
	if s.opts.SYN.Send(targets) == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range due {
		c.knock.after = time.Now().Add(knockPause)
		s.connect(c)
	}
}

// answered takes what came of a SYN.
func (s *Set) answered(c *check, o syn.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx == nil || s.ctx.Err() != nil:
		s.running--
	case o == syn.Open:
		c.knock.misses = 0
		s.take(c, c.knock.begin, Report{}, nil)
	case o == syn.Refused:
		s.take(c, c.knock.begin, Report{}, failed("connect", syscall.ECONNREFUSED, ReasonRefused))
	default:
		c.knock.silent = true
		s.connect(c)
	}
}

// connect goes on with a probe by a connection, which tells why there is none.
func (s *Set) connect(c *check) {
	ctx, begin := s.ctx, c.knock.begin
	s.probes.Go(func() { s.probe(ctx, c, begin) })
}

// heard compares what a connection came to with the SYN before it.
func (k *knock) heard(begin time.Time, err error) {
	if k == nil || !k.silent {
		return
	}
	k.silent = false
	if err != nil {
		return
	}
	if k.misses++; k.misses >= knockMisses {
		k.misses, k.after = 0, begin.Add(knockPause)
	}
}
