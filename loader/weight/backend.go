package weight

import (
	"fmt"
	"math"
	"net/netip"

	"weir/loader/lb"
)

// Backend is one server of the pool as configured.
type Backend struct {
	Endpoint   netip.AddrPort
	Configured lb.Weight
	Limits     []lb.Limit
}

func (b Backend) limit(metric string) (lb.Limit, bool) {
	for _, l := range b.Limits {
		if l.Metric == metric {
			return l, true
		}
	}
	return lb.Limit{}, false
}

func checkBackends(all []Backend) error {
	seen := make(map[netip.AddrPort]bool, len(all))
	for _, b := range all {
		if seen[b.Endpoint] {
			return fmt.Errorf("backend %s appears twice", b.Endpoint)
		}
		seen[b.Endpoint] = true
		if b.Configured > lb.MaxWeight {
			return fmt.Errorf("backend %s: weight %d is above %d", b.Endpoint, b.Configured, lb.MaxWeight)
		}
		for _, l := range b.Limits {
			if err := l.Check(); err != nil {
				return fmt.Errorf("backend %s: %w", b.Endpoint, err)
			}
		}
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
