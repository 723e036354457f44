// Package sample asks collectors once a second, smooths what they say, and
// knows how old it is. A collector that hangs delays nobody but itself.
package sample

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"weir/agent/report"
)

// Collector reads one kind of load. Collect is called from one goroutine, never
// twice at a time, at about the collector's interval, and must end soon after
// its context does.
type Collector interface {
	// Name stands in reports for a collector whose values are missing.
	Name() string
	// Collect is the values since the call before, by metric. A metric that
	// needs two calls is left out of the first.
	Collect(ctx context.Context, now time.Time) (map[string]float64, error)
}

// Options of a sampler. Both must be over zero.
type Options struct {
	Interval time.Duration // from one sample to the next
	Tau      time.Duration // time constant of the smoothing
}

// Source is a collector and how often it is asked; 0: at each of the
// sampler's intervals.
type Source struct {
	Collector
	Every time.Duration
}

// Sampler holds the smoothed values of all collectors. Now may be called
// concurrently with Run.
type Sampler struct {
	options Options
	feeds   []*feed
}

// New makes a sampler that has no values until Run.
func New(o Options, sources ...Source) *Sampler {
	s := &Sampler{options: o}
	for _, source := range sources {
		every := max(source.Every, o.Interval)
		s.feeds = append(s.feeds, &feed{Collector: source.Collector, every: every, tau: o.Tau, due: make(chan struct{}, 1)})
	}
	return s
}

// Run samples until ctx ends, and waits for collectors that still work.
func (s *Sampler) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for _, f := range s.feeds {
		workers.Go(func() { f.run(ctx) })
	}
	tick := time.NewTicker(s.options.Interval)
	defer tick.Stop()
	for now := time.Now(); ; {
		for _, f := range s.feeds {
			f.trigger(now)
		}
		select {
		case <-ctx.Done():
			workers.Wait()
			return
		case now = <-tick.C:
		}
	}
}

// Values are what a sampler knows at one moment.
type Values struct {
	By      map[string]float64 // smoothed, by metric
	Age     time.Duration      // of the oldest of them, beyond what its collector's own interval allows
	Missing map[string]string  // collectors without values, and why
}

// staleAfter intervals without a sample a collector's values are left out: the
// time that a balancer holds on to what it knows.
const staleAfter = 3

// Now are the values at a moment.
func (s *Sampler) Now(now time.Time) Values {
	v := Values{By: map[string]float64{}, Missing: map[string]string{}}
	for _, f := range s.feeds {
		f.add(&v, now, s.options.Interval)
	}
	return v
}

// feed is one collector with what it said.
type feed struct {
	Collector
	every time.Duration
	tau   time.Duration
	due   chan struct{}
	next  time.Time // of Run's goroutine

	mu      sync.Mutex
	values  map[string]float64
	sampled time.Time // when the values were asked for
	asked   time.Time // not yet answered, if not zero
	failure error     // of the last answer
}

// trigger asks a collector that is due; one that is busy gets to it later, once.
func (f *feed) trigger(now time.Time) {
	if now.Before(f.next) {
		return
	}
	select {
	case f.due <- struct{}{}:
		f.next = now.Add(f.every - f.every/16) // a tick may come early
	default:
	}
}

func (f *feed) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.due:
			now := time.Now()
			f.begin(now)
			values, err := f.collect(ctx, now)
			f.end(now, values, err)
		}
	}
}

func (f *feed) collect(ctx context.Context, now time.Time) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, staleAfter*f.every)
	defer cancel()
	values, err := f.Collect(ctx, now)
	if err != nil {
		return nil, err
	}
	for name, v := range values {
		if err := report.CheckValue(name, v); err != nil {
			if refused, ok := errors.AsType[*report.RefusedError](err); ok {
				return nil, errors.New(refused.Detail)
			}
			return nil, err
		}
	}
	return values, nil
}

func (f *feed) begin(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = now
}

func (f *feed) end(now time.Time, values map[string]float64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.failure = time.Time{}, err
	if err != nil {
		return
	}
	f.values = smooth(f.values, values, now.Sub(f.sampled), f.tau)
	f.sampled = now
}

func (f *feed) add(v *Values, now time.Time, interval time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	age := now.Sub(f.sampled)
	if f.sampled.IsZero() || age > staleAfter*f.every {
		v.Missing[f.Name()] = report.Clean(f.why(now))
		return
	}
	for name, value := range f.values {
		v.By[name] = value
	}
	if len(f.values) > 0 {
		v.Age = max(v.Age, age-(f.every-interval))
	}
}

// why says what keeps a collector from having values.
func (f *feed) why(now time.Time) string {
	switch {
	case !f.asked.IsZero() && now.Sub(f.asked) > f.every:
		return fmt.Sprintf("no answer for %s", now.Sub(f.asked).Truncate(time.Second))
	case f.failure != nil:
		return f.failure.Error()
	}
	return "not sampled yet"
}
