package upstream

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// queue is where requests wait for a place at a backend, first come, first
// woken.
type queue struct {
	waiting atomic.Int32 // len(places), to be looked at without the lock

	mu     sync.Mutex
	places []chan struct{}
}

// join adds a place unless there are already most.
func (q *queue) join(most int) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.places) >= most {
		return nil
	}
	place := make(chan struct{}, 1)
	q.places = append(q.places, place)
	q.waiting.Add(1)
	return place
}

// leave gives a place up. If it was woken meanwhile, the next is.
func (q *queue) leave(place chan struct{}) {
	q.mu.Lock()
	i := slices.Index(q.places, place)
	if i >= 0 {
		q.places = slices.Delete(q.places, i, i+1)
		q.waiting.Add(-1)
	}
	q.mu.Unlock()
	if i < 0 {
		q.wake()
	}
}

// wake lets the first try its luck.
func (q *queue) wake() {
	if q.waiting.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.places) > 0 {
		q.places[0] <- struct{}{}
		q.places = slices.Delete(q.places, 0, 1)
		q.waiting.Add(-1)
	}
}

func (q *queue) wakeAll() {
	for range q.waiting.Load() {
		q.wake()
	}
}

// wait has try called until it succeeds: now, as somebody may have left before
// there was a place, and whenever somebody leaves. It reports false if the
// queue is full, the time is over or ctx has ended.
func (q *queue) wait(ctx context.Context, most int, within time.Duration, try func() bool) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		place := q.join(most)
		if place == nil {
			return false
		}
		if try() {
			q.leave(place)
			return true
		}
		select {
		case <-place:
			if try() {
				return true
			}
		case <-timer.C:
			q.leave(place)
			return false
		case <-ctx.Done():
			q.leave(place)
			return false
		}
	}
}
