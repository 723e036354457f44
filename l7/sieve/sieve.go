// Package sieve is a map of bounded weight that forgets what was not asked for
// of late: SIEVE (Zhang et al., NSDI 2024), which needs no more than a bit on a
// hit.
package sieve

import (
	"iter"
	"sync"
	"sync/atomic"
)

// Map keeps values up to a total weight. It may be used concurrently.
type Map[K comparable, V any] struct {
	mu      sync.RWMutex
	nodes   map[K]*node[K, V]
	newest  *node[K, V]
	oldest  *node[K, V]
	hand    *node[K, V]
	weight  int64
	most    int64
	evicted func(K, V)
}

type node[K comparable, V any] struct {
	key          K
	value        V
	weight       int64
	asked        atomic.Bool
	newer, older *node[K, V]
}

// New makes a map of at most that weight. evicted, if not nil, gets what is
// forgotten for want of room; it is called without locks.
func New[K comparable, V any](most int64, evicted func(K, V)) *Map[K, V] {
	return &Map[K, V]{nodes: map[K]*node[K, V]{}, most: most, evicted: evicted}
}

// Get finds a value, which counts as asking for it.
func (m *Map[K, V]) Get(key K) (V, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.nodes[key].get()
}

// GetBytes is Get for a map by strings, without making one.
func GetBytes[V any](m *Map[string, V], key []byte) (V, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.nodes[string(key)].get()
}

func (n *node[K, V]) get() (value V, ok bool) {
	if n == nil {
		return value, false
	}
	if !n.asked.Load() { // keeps the line shared among CPUs
		n.asked.Store(true)
	}
	return n.value, true
}

// Put sets a value. The old one, if any, is returned. A value heavier than the
// whole map is evicted at once.
func (m *Map[K, V]) Put(key K, value V, weight int64) (old V, had bool) {
	var out []*node[K, V]
	m.mu.Lock()
	if n := m.nodes[key]; n != nil {
		old, had = n.value, true
		m.unlink(n)
	}
	n := &node[K, V]{key: key, value: value, weight: weight}
	if weight > m.most {
		out = append(out, n)
	} else {
		for m.weight+weight > m.most {
			victim := m.victim()
			m.unlink(victim)
			out = append(out, victim)
		}
		m.link(n)
	}
	m.mu.Unlock()
	if m.evicted != nil {
		for _, n := range out {
			m.evicted(n.key, n.value)
		}
	}
	return old, had
}

// Delete removes a value, and returns it, if it is there and is is true for it;
// is may be nil.
func (m *Map[K, V]) Delete(key K, is func(V) bool) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.nodes[key]
	if n == nil || is != nil && !is(n.value) {
		return value, false
	}
	m.unlink(n)
	return n.value, true
}

// Len is the number of values, Weight their total weight.
func (m *Map[K, V]) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.nodes)
}

// Weight is the total weight of the values.
func (m *Map[K, V]) Weight() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.weight
}

// All goes over the values as they were when it began, in no order.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		m.mu.RLock()
		all := make([]*node[K, V], 0, len(m.nodes))
		for _, n := range m.nodes {
			all = append(all, n)
		}
		m.mu.RUnlock()
		for _, n := range all {
			if !yield(n.key, n.value) {
				return
			}
		}
	}
}

// victim walks from old to new, taking the bit of what was asked for, to the
// first that was not.
func (m *Map[K, V]) victim() *node[K, V] {
	for {
		if m.hand == nil {
			m.hand = m.oldest
		}
		n := m.hand
		m.hand = n.newer
		if !n.asked.Swap(false) {
			return n
		}
	}
}

func (m *Map[K, V]) link(n *node[K, V]) {
	m.nodes[n.key] = n
	m.weight += n.weight
	n.older = m.newest
	if m.newest != nil {
		m.newest.newer = n
	} else {
		m.oldest = n
	}
	m.newest = n
}

func (m *Map[K, V]) unlink(n *node[K, V]) {
	delete(m.nodes, n.key)
	m.weight -= n.weight
	if m.hand == n {
		m.hand = n.newer
	}
	if n.newer != nil {
		n.newer.older = n.older
	} else {
		m.newest = n.older
	}
	if n.older != nil {
		n.older.newer = n.newer
	} else {
		m.oldest = n.newer
	}
}
