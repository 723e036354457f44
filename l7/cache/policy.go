package cache

import (
	"fmt"
	"slices"
	"time"
)

// Policy is how a route uses a cache. The zero value is RFC 9111 and nothing
// else. It must not change after Handler has got it.
type Policy struct {
	Key Key

	// TTL is for how long answers are fresh that say nothing about it and that
	// may be stored; StatusTTL comes before it, by status. 0: see Heuristic.
	TTL       time.Duration
	StatusTTL map[int]time.Duration
	// Heuristic is the part of the time since Last-Modified for which answers
	// are fresh that say nothing (RFC 9111, 4.2.2): 0.1 for a tenth. 0: they are
	// not. More than HeuristicMost it never is; 0: a day.
	Heuristic     float64
	HeuristicMost time.Duration
	// MinTTL and MaxTTL bound the freshness of whatever may be stored, as a
	// contract with the origin (RFC 9111, 4.2.4). 0: no bound.
	MinTTL, MaxTTL time.Duration

	// WhileStale and IfError are stale-while-revalidate and stale-if-error
	// (RFC 5861) of answers that do not say.
	WhileStale, IfError time.Duration

	// Targets are the targeted fields (RFC 9213), in order of priority; nil:
	// CDN-Cache-Control.
	Targets []string

	// SetCookie stores answers with Set-Cookie, without that field, where their
	// own directives allow storing. Else such answers are not stored at all.
	SetCookie bool
	// Authorization stores answers to requests with Authorization where
	// RFC 9111, 3.5 allows it. Else such answers are not stored at all.
	Authorization bool
	// IgnoreClient lets Cache-Control of requests count for nothing, as
	// RFC 9111, 5.2.1 allows: no client can make the origin work.
	IgnoreClient bool
	// Tags are fields of answers with words to purge by, and they are not sent
	// on; nil: Surrogate-Key and Cache-Tag.
	Tags []string

	// Status sends Cache-Status (RFC 9211).
	Status bool
	// Variants is how many answers with different Vary or Key values are kept
	// of one URL; 0: 64.
	Variants int
	// Wait is for how long a request waits for another that asks the same, before
	// it goes to the origin itself; 0: 10 s.
	Wait time.Duration
	// Pass is for how long requests do not wait for each other after an answer
	// that could not be stored; 0: 10 s.
	Pass time.Duration
}

func (p *Policy) complete() {
	set := func(to *time.Duration, value time.Duration) {
		if *to == 0 {
			*to = value
		}
	}
	set(&p.HeuristicMost, 24*time.Hour)
	set(&p.Wait, 10*time.Second)
	set(&p.Pass, 10*time.Second)
	if p.Variants == 0 {
		p.Variants = 64
	}
	if p.Targets == nil {
		p.Targets = []string{"CDN-Cache-Control"}
	}
	if p.Tags == nil {
		p.Tags = []string{"Surrogate-Key", "Cache-Tag"}
	}
	p.Key.complete()
}

// Check says what is wrong with a policy, or nothing.
func (p *Policy) Check() error {
	for name, d := range map[string]time.Duration{
		"ttl": p.TTL, "heuristic most": p.HeuristicMost, "min ttl": p.MinTTL, "max ttl": p.MaxTTL,
		"stale while revalidate": p.WhileStale, "stale if error": p.IfError, "wait": p.Wait, "pass": p.Pass,
	} {
		if d < 0 {
			return fmt.Errorf("%s %v: must not be negative", name, d)
		}
	}
	if p.Heuristic < 0 || p.Heuristic > 1 {
		return fmt.Errorf("heuristic %v: must be 0 to 1", p.Heuristic)
	}
	if p.MaxTTL > 0 && p.MinTTL > p.MaxTTL {
		return fmt.Errorf("min ttl %v is more than max ttl %v", p.MinTTL, p.MaxTTL)
	}
	for _, names := range [][]string{p.Targets, p.Tags, p.Key.Headers} {
		if i := slices.IndexFunc(names, func(n string) bool { return n == "" || tokenLength([]byte(n)) != len(n) }); i >= 0 {
			return fmt.Errorf("%q is no name of a field", names[i])
		}
	}
	if p.Variants < 0 {
		return fmt.Errorf("variants %d: must not be negative", p.Variants)
	}
	return nil
}
