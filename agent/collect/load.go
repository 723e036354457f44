package collect

import (
	"context"
	"time"

	"github.com/shirou/gopsutil/v3/load"
)

// Load reads how many processes run or wait.
type Load struct{ host Host }

// NewLoad makes the collector of load.
func NewLoad(h Host) *Load { return &Load{h} }

// Name is "load".
func (*Load) Name() string { return "load" }

// Collect reads /proc/loadavg.
func (l *Load) Collect(ctx context.Context, _ time.Time) (map[string]float64, error) {
	avg, err := load.AvgWithContext(l.host.context(ctx))
	if err != nil {
		return nil, err
	}
	return map[string]float64{"load": avg.Load1 / float64(l.host.Cores)}, nil
}
