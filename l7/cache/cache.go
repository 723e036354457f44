// Package cache keeps answers and gives them again: a shared cache as of
// RFC 9111, with the companions RFC 5861 (stale answers), RFC 9211
// (Cache-Status) and RFC 9213 (targeted fields).
//
// It belongs outside of what compresses: compressed answers are stored, told
// apart by Vary, and a hit costs no compression. For this to leave few variants
// Accept-Encoding is put into one form before anything is looked up or
// forwarded (coding.Accepted.Canonical).
//
// Answers are kept in memory up to a budget. Those that are asked for more
// often stay. What is in memory is written to disk too, if there is a disk tier,
// and found there when memory has lost it, also after a restart.
package cache

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"weir/l7/exchange"
	"weir/l7/prebuilt"
)

// Options are the sizes of a cache. Memory must be given.
type Options struct {
	Memory    int64  // bytes of answers in memory, what is needed to find them included
	MaxObject int64  // bytes of a body; longer answers are not stored; 0: 16 MiB, at most a quarter of Memory
	DiskPath  string // directory of the disk tier, for this cache only; "": none
	DiskBytes int64  // bytes of files there
	Name      string // in Cache-Status, a token; "": weir
}

// Cache is a store that routes share. It may be used concurrently.
type Cache struct {
	Options
	store    *store
	disk     *disk // nil: none
	flights  flights
	stats    counters
	messages prebuilt.Messages
	filling  atomic.Int64 // bytes that answers which are arriving may take

	refreshes chan struct{} // one for each validation in the background
	behind    sync.WaitGroup
	mu        sync.Mutex
	closed    bool
	keys      map[string]Key // those in use, for purges by URL
	purges    atomic.Uint64  // counts whatever is forgotten
}

// mostRefreshes is how many answers are validated in the background at once.
const mostRefreshes = 64

// New makes a cache. An error names the option that is wrong, or the directory
// that cannot be used.
func New(o Options) (*Cache, error) {
	if o.Name == "" {
		o.Name = "weir"
	}
	if o.MaxObject == 0 {
		o.MaxObject = min(16<<20, o.Memory/4)
	}
	switch {
	case o.Memory < 1<<20 || o.Memory > 1<<44:
		return nil, fmt.Errorf("memory %d: must be 1 MiB to 16 TiB", o.Memory)
	case o.MaxObject < 0 || o.MaxObject > o.Memory/4:
		return nil, fmt.Errorf("max object %d: must be at most a quarter of memory, %d", o.MaxObject, o.Memory/4)
	case o.MaxObject > 1<<31:
		return nil, fmt.Errorf("max object %d: must be at most 2 GiB", o.MaxObject)
	case tokenLength([]byte(o.Name)) != len(o.Name):
		return nil, fmt.Errorf("name %q: must be a token", o.Name)
	}
	c := &Cache{Options: o, refreshes: make(chan struct{}, mostRefreshes), keys: map[string]Key{}}
	c.flights.all = map[string]*flight{}
	var err error
	if c.store, err = newStore(o.Memory, func() { c.stats.evictions.Add(1) }); err != nil {
		return nil, err
	}
	if o.DiskPath != "" {
		if c.disk, err = openDisk(o.DiskPath, o.DiskBytes, o.MaxObject); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Close waits for what runs in the background: answers that are still arriving,
// and what is to be written to disk. What is stored later is in memory only.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.behind.Wait()
	if c.disk == nil {
		return nil
	}
	return c.disk.close()
}

// Handler answers from the cache, and asks next for the rest. The policy must
// have passed Check. The path of a request must be canonical.
func (c *Cache) Handler(p Policy, next exchange.Handler) exchange.Handler {
	p.complete()
	c.mu.Lock()
	c.keys[fmt.Sprintf("%+v", p.Key)] = p.Key // as many as configurations had
	c.mu.Unlock()
	return &handler{cache: c, policy: p, next: next}
}

// arriving is the memory that one answer takes while it arrives.
type arriving struct {
	cache *Cache
	bytes int64
}

// take asks for more, and reports false if all that arrive have too much.
func (a *arriving) take(n int64) bool {
	if a.cache.filling.Add(n) > a.cache.Memory/2 {
		a.cache.filling.Add(-n)
		return false
	}
	a.bytes += n
	return true
}

func (a *arriving) release() { a.cache.filling.Add(-a.bytes) }

// fill begins to read an answer's body, if there is memory for it. ended is as
// of newFill.
func (c *Cache) fill(r *exchange.Response, ended func([]byte)) *fill {
	room := &arriving{cache: c}
	if !room.take(max(firstRead, r.Length)) {
		return nil
	}
	f := newFill(r.Body, r.Length, c.MaxObject, func(body []byte) {
		room.release()
		ended(body)
	})
	f.take = room.take
	return f
}

// spawn runs f in the background. Close waits for it, if it began before.
func (c *Cache) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		go f()
		return
	}
	c.behind.Go(f)
}

// put stores a whole answer in both tiers.
func (c *Cache) put(url string, e *entry, variants int) {
	c.store.put(url, e, variants)
	c.stats.stored.Add(1)
	if c.disk != nil {
		c.disk.write(url, e)
	}
}

// replace puts a validated answer in the place of the old one.
func (c *Cache) replace(url string, old, newer *entry) {
	if c.store.replace(url, old, newer) && c.disk != nil {
		c.disk.write(url, newer)
	}
}

// lookup finds what is stored for a URL, in memory or on disk.
func (c *Cache) lookup(url []byte) *resource {
	r := c.store.get(url)
	if r == nil && c.disk != nil {
		r = c.fromDisk(string(url))
	}
	return r
}

// fromDisk takes what the disk has for a URL into memory. Of equal requests one
// reads at a time, so that many cannot fill the memory with copies.
func (c *Cache) fromDisk(url string) *resource {
	if !c.disk.has(url) {
		return nil
	}
	lock := &c.disk.reads[c.store.hash([]byte(url))%uint64(len(c.disk.reads))]
	lock.Lock()
	defer lock.Unlock()
	if r := c.store.get([]byte(url)); r != nil {
		return r
	}
	entries := c.disk.read(url)
	if len(entries) == 0 {
		return nil
	}
	c.stats.fromDisk.Add(1)
	found := &resource{url: url, variants: entries}
	c.store.change(url, func(old *resource) *resource {
		if old != nil { // somebody was faster
			found = old
			return old
		}
		return found
	})
	return found
}

// seconds of ns, rounded to what is past.
func wholeSeconds(ns int64) int64 {
	if ns < 0 {
		return -((-ns + int64(time.Second) - 1) / int64(time.Second))
	}
	return ns / int64(time.Second)
}
