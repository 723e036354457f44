package tier

import (
	"maps"
	"reflect"
	"sync"
	"time"

	"weir/l7/accesslog"
	"weir/l7/cache"
	"weir/l7/certs"
	"weir/l7/listen"
	"weir/l7/static"
	"weir/l7/trace"
	"weir/l7/upstream"
)

// shelf holds parts that outlive a reload if what they are made from stays the
// same, by name.
type shelf[P any] map[string]part[P]

type part[P any] struct {
	settings any // deeply equal: the same part
	it       P
}

// parts is all that a generation is built upon.
type parts struct {
	pools   shelf[*upstream.Pool]
	caches  shelf[*cache.Cache]
	files   shelf[*static.Files]
	sinks   shelf[*accesslog.Sink]
	tracers shelf[*trace.Tracer]
	stores  shelf[*certs.Store]
	ends    shelf[*ends]
	sockets shelf[*listen.Listener]
	quic    shelf[*quicSocket]
}

func newParts() parts {
	return parts{
		pools: shelf[*upstream.Pool]{}, caches: shelf[*cache.Cache]{}, files: shelf[*static.Files]{}, sinks: shelf[*accesslog.Sink]{},
		tracers: shelf[*trace.Tracer]{}, stores: shelf[*certs.Store]{}, sockets: shelf[*listen.Listener]{},
		ends: shelf[*ends]{}, quic: shelf[*quicSocket]{},
	}
}

// take puts a part into next: the one that is on the shelf if its settings are
// the same, or else a new one, which drop closes if the reload comes to nothing.
func take[P any](d *draft, from, next shelf[P], name string, settings any, make func() (P, error), drop func(P)) (P, error) {
	if have, ok := next[name]; ok {
		return have.it, nil // made for another user already
	}
	have, ok := from[name]
	if !ok || !reflect.DeepEqual(have.settings, settings) {
		it, err := make()
		if err != nil {
			return it, err
		}
		have = part[P]{settings, it}
		d.undo = append(d.undo, func() { drop(it) })
	}
	next[name] = have
	return have.it, nil
}

// gone calls drop for what next has not.
func gone[P comparable](from, next shelf[P], drop func(P)) {
	for name, p := range from {
		if now, ok := next[name]; !ok || now.it != p.it {
			drop(p.it)
		}
	}
}

// drop closes everything but sockets.
func (p parts) drop() { p.retire(newParts()) }

// retire closes what next has not, but for sockets and what Run stops.
func (p parts) retire(next parts) {
	gone(p.pools, next.pools, (*upstream.Pool).Close)
	gone(p.files, next.files, func(f *static.Files) { _ = f.Close() }) // it was read only
	gone(p.caches, next.caches, closeCache)
	gone(p.sinks, next.sinks, (*accesslog.Sink).Close)
}

func closeCache(c *cache.Cache) { _ = c.Close() } // what is not on disk is fetched again

// retirement closes what reloads replaced, some time later.
type retirement struct {
	mu   sync.Mutex
	due  map[*time.Timer]func()
	over bool
}

func newRetirement() *retirement { return &retirement{due: map[*time.Timer]func(){}} }

func (r *retirement) later(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		f()
		return
	}
	var t *time.Timer
	t = time.AfterFunc(retireAfter, func() {
		r.mu.Lock()
		_, mine := r.due[t]
		delete(r.due, t)
		r.mu.Unlock()
		if mine {
			f()
		}
	})
	r.due[t] = f
}

// all closes at once what waits.
func (r *retirement) all() {
	r.mu.Lock()
	due := maps.Clone(r.due)
	clear(r.due)
	r.over = true
	r.mu.Unlock()
	for t, f := range due {
		t.Stop()
		f()
	}
}
