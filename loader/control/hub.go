package control

import (
	"fmt"
	"sync"
	"time"

	"weir/loader/lb"
)

// subscriptionBuffer is how many records a listener may fall behind before it
// loses some: a second of a busy, sampled stream.
const subscriptionBuffer = 4096

// hub hands each event to every subscription and waits for none of them.
type hub struct {
	mu      sync.Mutex
	subs    map[*Subscription]struct{}
	changed chan struct{} // gets a value when the number of listeners changes
}

func newHub() *hub {
	return &hub{subs: map[*Subscription]struct{}{}, changed: make(chan struct{}, 1)}
}

// Subscription is one listener to events. Its methods may be called from any
// goroutine.
type Subscription struct {
	hub  *hub
	c    chan lb.Event
	lost uint64 // records not sent since the last that was; under hub.mu
}

// C delivers the events. It is never closed; a "lost" event tells how many
// records the listener was too slow for.
func (s *Subscription) C() <-chan lb.Event { return s.c }

// Close ends the subscription. It may be called again.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	delete(s.hub.subs, s)
	s.hub.poke()
}

func (h *hub) subscribe(buffer int) *Subscription {
	s := &Subscription{hub: h, c: make(chan lb.Event, buffer)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs[s] = struct{}{}
	h.poke()
	return s
}

func (h *hub) listeners() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs)
}

// publish never blocks.
func (h *hub) publish(e lb.Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		s.offer(e)
	}
}

// offer queues an event, after the count of those lost before it.
func (s *Subscription) offer(e lb.Event) {
	if s.lost > 0 {
		if !s.send(lostEvent(e.Time, s.lost)) {
			s.lost++
			return
		}
		s.lost = 0
	}
	if !s.send(e) {
		s.lost++
	}
}

func (s *Subscription) send(e lb.Event) bool {
	select {
	case s.c <- e:
		return true
	default:
		return false
	}
}

func lostEvent(at time.Time, n uint64) lb.Event {
	return lb.Event{
		Time: at, Kind: KindLost, Sampled: uint32(min(n, 1<<32-1)),
		Message: fmt.Sprintf("%d records lost: the listener was too slow", n),
	}
}

func (h *hub) poke() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}
