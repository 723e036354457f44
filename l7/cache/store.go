package cache

import (
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/maypok86/otter/v2"

	"weir/l7/exchange"
)

// resource is what is stored for one URL. It does not change: another takes its
// place.
type resource struct {
	url      string
	variants []*entry // newest first
	pass     int64    // ns since 1970 until which requests do not wait for each other
}

// varies reports whether the request's fields choose among the variants.
func (r *resource) varies() bool {
	for _, e := range r.variants {
		if len(e.vary) > 0 {
			return true
		}
	}
	return false
}

// store is the memory tier: resources by URL, up to a budget, with a frequency
// sketch in front of it (W-TinyLFU), and which URLs have a tag.
type store struct {
	seed maphash.Seed
	all  *otter.Cache[uint64, *resource]
	most int64 // weight of one resource

	mu   sync.Mutex
	tags map[string]map[uint64]int // by tag and hash of the URL: how many entries
}

func newStore(budget int64, evicted func()) (*store, error) {
	s := &store{seed: maphash.MakeSeed(), tags: map[string]map[uint64]int{}, most: budget / 4}
	var err error
	s.all, err = otter.New(&otter.Options[uint64, *resource]{
		MaximumWeight: uint64(budget),
		Weigher:       func(_ uint64, r *resource) uint32 { return r.weight() },
		OnAtomicDeletion: func(e otter.DeletionEvent[uint64, *resource]) {
			s.untag(e.Key, e.Value)
			if e.WasEvicted() {
				evicted()
			}
		},
		// Eviction happens before what needs the room is done: the budget is
		// kept at once, and no goroutine is started.
		Executor: func(f func()) { f() },
	})
	if err != nil {
		return nil, fmt.Errorf("make the memory tier: %w", err)
	}
	return s, nil
}

func (r *resource) weight() uint32 {
	n := int64(128 + len(r.url))
	for _, e := range r.variants {
		n += e.weight()
	}
	return uint32(min(n, 1<<32-1))
}

func (s *store) hash(url []byte) uint64 { return maphash.Bytes(s.seed, url) }

// get finds what is stored for a URL, or nil.
func (s *store) get(url []byte) *resource {
	r, ok := s.all.GetIfPresent(s.hash(url))
	if !ok || r.url != string(url) { // of another URL with the same hash
		return nil
	}
	return r
}

// choose is the newest of the variants that a request may have (RFC 9111, 4),
// or nil.
func (r *resource) choose(h *exchange.Header, extra []byte) *entry {
	if r == nil {
		return nil
	}
	var best *entry
	for _, e := range r.variants {
		if (best == nil || e.of.Date.After(best.of.Date)) && e.matches(h, extra) {
			best = e
		}
	}
	return best
}

// change puts what f makes of a resource in its place; f gets nil where there
// is none, and gives nil to remove it.
func (s *store) change(url string, f func(*resource) *resource) {
	key := s.hash([]byte(url))
	s.all.Compute(key, func(old *resource, found bool) (*resource, otter.ComputeOp) {
		if !found || old.url != url { // of two URLs with one hash the newer stays
			old = nil
		}
		now := f(old)
		switch now {
		case old:
			return nil, otter.CancelOp
		case nil:
			return nil, otter.InvalidateOp
		}
		s.tag(key, now)
		return now, otter.WriteOp
	})
}

// put stores an entry in place of the variant with the same choice. Of too many
// variants, or too many bytes, the oldest go.
func (s *store) put(url string, e *entry, variants int) {
	s.change(url, func(old *resource) *resource {
		now := &resource{url: url, variants: []*entry{e}}
		room := s.most - e.weight() - int64(len(url))
		if old == nil {
			return now
		}
		for _, v := range old.variants {
			if v.sameChoice(e) {
				v.gone.Store(true)
				continue
			}
			if room -= v.weight(); room < 0 || len(now.variants) >= variants {
				v.gone.Store(true)
				continue
			}
			now.variants = append(now.variants, v)
		}
		return now
	})
}

// replace puts a newer entry in the place of another, if that is still there.
func (s *store) replace(url string, old, newer *entry) bool {
	done := false
	s.change(url, func(r *resource) *resource {
		if done = r != nil && slices.Contains(r.variants, old); !done {
			return r
		}
		now := &resource{url: url, variants: slices.Clone(r.variants)}
		now.variants[slices.Index(r.variants, old)] = newer
		old.gone.Store(true)
		return now
	})
	return done
}

// remove removes all that is stored for a URL and reports whether something was.
func (s *store) remove(url string) bool {
	found := false
	s.change(url, func(r *resource) *resource {
		if r == nil {
			return nil
		}
		found = found || len(r.variants) > 0
		for _, e := range r.variants {
			e.gone.Store(true)
		}
		return nil
	})
	return found
}

// passUntil marks a URL whose answers cannot be shared.
func (s *store) passUntil(url string, until int64) {
	s.change(url, func(r *resource) *resource {
		now := &resource{url: url, pass: until}
		if r != nil {
			now.variants = r.variants
		}
		return now
	})
}

// urls are the URLs that have something stored, in no order.
func (s *store) urls() iter.Seq[string] {
	return func(yield func(string) bool) {
		for r := range s.all.Values() {
			if len(r.variants) > 0 && !yield(r.url) {
				return
			}
		}
	}
}

// tagged are the URLs that have an entry with a tag.
func (s *store) tagged(tag string) []string {
	s.mu.Lock()
	keys := make([]uint64, 0, len(s.tags[tag]))
	for key := range s.tags[tag] {
		keys = append(keys, key)
	}
	s.mu.Unlock()
	var urls []string
	for _, key := range keys {
		if e, ok := s.all.GetEntryQuietly(key); ok {
			urls = append(urls, strings.Clone(e.Value.url))
		}
	}
	return urls
}

func (s *store) tag(key uint64, r *resource) { s.count(key, r, 1) }

func (s *store) untag(key uint64, r *resource) { s.count(key, r, -1) }

func (s *store) count(key uint64, r *resource, by int) {
	if !slices.ContainsFunc(r.variants, func(e *entry) bool { return len(e.tags) > 0 }) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range r.variants {
		for _, tag := range e.tags {
			keys := s.tags[tag]
			if keys == nil {
				keys = map[uint64]int{}
				s.tags[tag] = keys
			}
			if keys[key] += by; keys[key] == 0 {
				delete(keys, key)
			}
			if len(keys) == 0 {
				delete(s.tags, tag)
			}
		}
	}
}
