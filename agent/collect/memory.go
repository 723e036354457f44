package collect

import (
	"context"
	"time"

	"github.com/shirou/gopsutil/v3/mem"

	"weir/agent/cgroup"
)

// Memory reads how much memory and swap is in use.
type Memory struct {
	host  Host
	scope *cgroup.Group
}

// NewMemory makes the collector of memory, memory_available and swap.
func NewMemory(h Host, scope *cgroup.Group) *Memory { return &Memory{h, scope} }

// Name is "memory".
func (*Memory) Name() string { return "memory" }

const mib = 1 << 20

// Collect reads /proc/meminfo, and the control group. A group is as full as
// its limit says, or the host where that has less to give.
func (m *Memory) Collect(ctx context.Context, _ time.Time) (map[string]float64, error) {
	v, err := mem.VirtualMemoryWithContext(m.host.context(ctx))
	if err != nil {
		return nil, err
	}
	available, total := float64(v.Available), float64(v.Total)
	swapFree, swapTotal := float64(v.SwapFree), float64(v.SwapTotal)
	if m.scope != nil {
		g, err := m.scope.Memory()
		if err != nil {
			return nil, err
		}
		if g.Limit > 0 && float64(g.Limit) < total {
			total = float64(g.Limit)
			available = min(available, max(0, total-float64(g.Used)))
		}
		if g.SwapLimit > 0 && float64(g.SwapLimit) < swapTotal {
			swapTotal = float64(g.SwapLimit)
			swapFree = min(swapFree, max(0, swapTotal-float64(g.SwapUsed)))
		}
	}
	return map[string]float64{
		"memory":           ratio(total-available, total),
		"memory_available": available / mib,
		"swap":             ratio(swapTotal-swapFree, swapTotal),
	}, nil
}
