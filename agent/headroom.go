package agent

import (
	"math"
	"sync"
)

// Weights for HAProxy move in whole steps, and only when they are off by more
// than one: each change rebuilds its tables and moves clients.
const (
	step      = 5 // percent
	leastStep = 5 // a busy backend is no drained one
)

// headroom turns utilisation into a weight in percent.
type headroom struct {
	mu   sync.Mutex
	last int // 0: none yet
}

// percent is what is free of the scarcest of the metrics. Without a value of
// any it is 100, the configured weight.
func (h *headroom) percent(values map[string]float64, metrics []string) int {
	free := 1.0
	for _, name := range metrics {
		if v, ok := values[name]; ok {
			free = min(free, 1-v)
		}
	}
	exact := max(leastStep, 100*free)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == 0 || math.Abs(exact-float64(h.last)) > step {
		h.last = int(math.Round(exact/step)) * step
	}
	return h.last
}
