package collect

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"weir/agent/cgroup"
)

// Pressure reads how long work waited for CPU, memory and disks.
type Pressure struct {
	host  Host
	scope *cgroup.Group
	stats counters[string]
}

// NewPressure makes the collector of psi_*.
func NewPressure(h Host, scope *cgroup.Group) *Pressure { return &Pressure{host: h, scope: scope} }

// Name is "pressure".
func (*Pressure) Name() string { return "pressure" }

// Collect reads /proc/pressure, or the control group. A kernel without any of
// it is errors.ErrUnsupported.
func (p *Pressure) Collect(_ context.Context, now time.Time) (map[string]float64, error) {
	stats := map[string]float64{}
	var lacking error
	for _, resource := range []string{"cpu", "memory", "io"} {
		s, err := p.read(resource)
		if errors.Is(err, errors.ErrUnsupported) {
			lacking = err
			continue
		}
		if err != nil {
			return nil, err
		}
		stats["psi_"+resource] = s.Some.Seconds()
		if resource != "cpu" { // all of it waits for CPU only in a control group with a quota
			stats["psi_"+resource+"_full"] = s.Full.Seconds()
		}
	}
	if len(stats) == 0 {
		return nil, lacking
	}
	rose, seconds := p.stats.rise(now, stats)
	values := map[string]float64{}
	for metric, waited := range rose {
		values[metric] = ratio(waited, seconds)
	}
	return values, nil
}

func (p *Pressure) read(resource string) (cgroup.Pressure, error) {
	if p.scope != nil {
		return p.scope.Pressure(resource)
	}
	return cgroup.ReadPressure(filepath.Join(p.host.Root, "proc/pressure", resource))
}
