package cache

import (
	"slices"
	"sync"
	"sync/atomic"

	"weir/l7/exchange"
)

// flight is a request to the origin that others, who ask the same, wait for.
type flight struct {
	url   string
	done  chan struct{} // closed when out is there
	out   outcome
	stale atomic.Bool // what it brings was purged before it was there
}

// outcome is what a flight brought.
type outcome struct {
	entry  *entry           // nil: the answer is the one request's alone
	fill   *fill            // its body, while it arrives; nil: it is whole
	n      note             // for the request that flew
	own    []exchange.Field // for that request only: fields that are not stored
	aged   bool             // the origin's answer has an age
	failed int              // status of weir's own error, where the origin was not reached
	why    string           // of that, for logs
}

// flights are those under way.
type flights struct {
	mu      sync.Mutex
	all     map[string]*flight
	numbers atomic.Uint64 // of those that nobody joins
}

// join finds the flight of a key, or begins it.
func (s *flights) join(key, url string) (f *flight, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.all[key]; f != nil && !f.stale.Load() {
		return f, false
	}
	f = &flight{url: url, done: make(chan struct{})}
	s.all[key] = f
	return f, true
}

// leave takes a flight off the board: the next request begins another.
func (s *flights) leave(key string, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[key] == f {
		delete(s.all, key)
	}
}

// spoil keeps from the store what flights to the URLs bring that is holds for.
func (s *flights) spoil(is func(f *flight) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.all {
		if is(f) {
			f.stale.Store(true)
		}
	}
}

// tagged reports whether what a flight brings may have a tag. Until its header
// is there that is unknown.
func (f *flight) tagged(tag string) bool {
	select {
	case <-f.done:
		return f.out.entry != nil && slices.Contains(f.out.entry.tags, tag)
	default:
		return true
	}
}

// flightKey tells apart requests whose answers may differ, as far as is known
// beforehand: by the fields that chose among the stored ones.
func (a *asked) flightKey(h *exchange.Header) string {
	b := append(append([]byte(a.url), 0), a.extra...)
	var named []string
	if a.stored != nil {
		for _, e := range a.stored.variants {
			for i := range e.vary {
				if !slices.Contains(named, e.vary[i].name) {
					named = append(named, e.vary[i].name)
				}
			}
		}
	}
	if !slices.Contains(named, "accept-encoding") { // the likeliest
		named = append(named, "accept-encoding")
	}
	slices.Sort(named)
	for _, name := range named {
		var present bool
		b, present = appendNormal(append(b, 0), h, exchange.NameOf(name), name)
		if present {
			b = append(b, 1)
		}
	}
	return string(b)
}
