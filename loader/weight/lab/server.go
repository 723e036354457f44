package lab

import "math"

// server is a backend: cores and a queue before them.
type server struct {
	Server
	taken    int // cores that the neighbour has
	busy     int // cores that serve
	waiting  []waiting
	head     int
	received uint64
	served   uint64
	area     float64 // busy cores over time, in core-nanoseconds, the neighbour's included
	since    int64   // of area
}

type waiting struct {
	flow  int32
	began int64
}

// account brings area up to now; call it before busy or taken change.
func (s *server) account(now int64) {
	s.area += float64(s.occupied()) * float64(now-s.since)
	s.since = now
}

func (s *server) occupied() int { return min(s.busy+s.taken, s.Cores) }

func (s *server) free() bool { return s.busy+s.taken < s.Cores }

// enqueue reports whether there was room.
func (s *server) enqueue(w waiting) bool {
	if len(s.waiting)-s.head >= queueLimit {
		return false
	}
	if s.head > queueLimit {
		s.waiting = append(s.waiting[:0], s.waiting[s.head:]...)
		s.head = 0
	}
	s.waiting = append(s.waiting, w)
	return true
}

func (s *server) dequeue() (waiting, bool) {
	if s.head == len(s.waiting) {
		return waiting{}, false
	}
	s.head++
	return s.waiting[s.head-1], true
}

// cost is how much more than the mean a request takes here now.
func (s *server) cost() float64 {
	if !s.Cold {
		return 1
	}
	return 1 + coldCost*math.Exp(-float64(s.served)/coldRequests)
}
