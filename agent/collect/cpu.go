package collect

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"

	"weir/agent/cgroup"
)

var errNoTimes = errors.New("/proc/stat has no times of CPUs")

// CPU reads how busy the CPUs are, or a control group's part of them.
type CPU struct {
	host  Host
	scope *cgroup.Group
	times counters[coreTime]
	group counters[string]
}

// coreTime is one kind of a core's time.
type coreTime struct {
	core string
	kind timeKind
}

type timeKind int

const (
	allTime timeKind = iota
	busyTime
	stolenTime
)

// NewCPU makes the collector of cpu, cpu_core and cpu_steal, or in a scope of
// cpu and cpu_throttled.
func NewCPU(h Host, scope *cgroup.Group) *CPU { return &CPU{host: h, scope: scope} }

// Name is "cpu".
func (*CPU) Name() string { return "cpu" }

// Collect reads /proc/stat, or the control group.
func (c *CPU) Collect(ctx context.Context, now time.Time) (map[string]float64, error) {
	if c.scope != nil {
		return c.collectGroup(now)
	}
	times, err := cpu.TimesWithContext(c.host.context(ctx), true)
	if err == nil && len(times) == 0 {
		err = errNoTimes
	}
	if err != nil {
		return nil, err
	}
	read := map[coreTime]float64{}
	for _, t := range times {
		// Guests' time is in that of their user already.
		idle := t.Idle + t.Iowait
		busy := t.User + t.Nice + t.System + t.Irq + t.Softirq + t.Steal
		read[coreTime{t.CPU, allTime}] = idle + busy
		read[coreTime{t.CPU, busyTime}] = busy
		read[coreTime{t.CPU, stolenTime}] = t.Steal
	}
	rose, _ := c.times.rise(now, read)
	return coreValues(rose), nil
}

func coreValues(rose map[coreTime]float64) map[string]float64 {
	values := map[string]float64{}
	var all, busy, stolen, most float64
	for k, whole := range rose {
		if k.kind != allTime || whole == 0 {
			continue
		}
		b := rose[coreTime{k.core, busyTime}]
		all, busy, stolen = all+whole, busy+b, stolen+rose[coreTime{k.core, stolenTime}]
		most = max(most, ratio(b, whole))
		if n, err := strconv.Atoi(strings.TrimPrefix(k.core, "cpu")); err == nil && n < maxCores {
			values["cpu_core."+strconv.Itoa(n)] = ratio(b, whole)
		}
	}
	if all > 0 {
		values["cpu"], values["cpu_core"], values["cpu_steal"] = ratio(busy, all), most, ratio(stolen, all)
	}
	return values
}

func (c *CPU) collectGroup(now time.Time) (map[string]float64, error) {
	g, err := c.scope.CPU()
	if err != nil {
		return nil, err
	}
	cores := float64(c.host.Cores)
	if g.Cores > 0 {
		cores = min(cores, g.Cores)
	}
	rose, seconds := c.group.rise(now, map[string]float64{
		"used": g.Used.Seconds(), "periods": float64(g.Periods), "throttled": float64(g.Throttled),
	})
	used, ok := rose["used"]
	if !ok {
		return nil, nil
	}
	return map[string]float64{
		"cpu":           ratio(used, seconds*cores),
		"cpu_throttled": ratio(rose["throttled"], rose["periods"]),
	}, nil
}
