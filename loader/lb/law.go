package lb

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ResourceMode is how the reports of agents move weights.
type ResourceMode uint8

// Modes. In all but ModeStatic a backend over one of its limits is cut off.
const (
	ModeStatic   ResourceMode = iota // reports change nothing
	ModeCutoff                       // only the limits count
	ModeHeadroom                     // by what is free below the limits
	ModeCapacity                     // by the traffic that a backend carries per utilisation, as gRPC's A58 does
)

// ResourceModeNames lists the modes for people.
const ResourceModeNames = "static, cutoff, headroom or capacity"

var modeNames = [...]string{ModeStatic: "static", ModeCutoff: "cutoff", ModeHeadroom: "headroom", ModeCapacity: "capacity"}

// ParseResourceMode reads one of ResourceModeNames.
func ParseResourceMode(s string) (ResourceMode, error) {
	if i := slices.Index(modeNames[:], s); i >= 0 {
		return ResourceMode(i), nil
	}
	return 0, fmt.Errorf("resource mode %q is not %s", s, ResourceModeNames)
}

func (m ResourceMode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode-%d", uint8(m))
}

// MaxFactor is how far above its configured weight a backend can get.
const MaxFactor = 2

// Law is how a pool's weights follow health and reports. Start from
// DefaultLaw; it is comparable.
type Law struct {
	Mode   ResourceMode
	Metric string // what ModeCapacity follows, and ModeHeadroom where a backend has no limits

	Interval  time.Duration // between two reports of an agent
	Smoothing time.Duration // time constant that values are smoothed with, the agent's part included

	Min, Max float64 // bounds of a backend's share, in its configured share
	Step     float64 // the most that a factor changes in a publish
	DeadBand float64 // relative error of a factor that is left as it is
	HoldOff  time.Duration
	MaxMove  float64 // the most of a table that a publish moves

	SlowStart time.Duration // 0: a backend that comes up has its full weight at once
	Panic     float64       // with less than this part of the weight usable, failures are ignored; 0: never
}

// DefaultLaw follows nothing. docs/balance.md has what the figures were
// chosen by.
func DefaultLaw() Law {
	return Law{
		Metric: MetricCPU, Interval: time.Second, Smoothing: 3 * time.Second,
		Min: 0.1, Max: MaxFactor, Step: 0.1, DeadBand: 0.04, HoldOff: time.Second, MaxMove: 0.1,
		Panic: 0.5,
	}
}

// LawBound is what a number of a Law must lie between, by the name that it has
// in configurations. Durations are in seconds.
type LawBound struct {
	Name      string
	Value     float64
	Low, High float64
}

// Bounds are those of all numbers of a Law.
func (l Law) Bounds() []LawBound {
	return []LawBound{
		{"min", l.Min, 1.0 / 64, 1},
		{"max", l.Max, 1, MaxFactor},
		{"step", l.Step, 1.0 / 64, 1},
		{"dead_band", l.DeadBand, 0, 1},
		{"max_move", l.MaxMove, 0.01, 1},
		{"panic_threshold", l.Panic, 0, 1},
		{"interval", l.Interval.Seconds(), 0.1, 3600},
		{"smoothing", l.Smoothing.Seconds(), 0, 3600},
		{"hold_off", l.HoldOff.Seconds(), 0, 3600},
		{"slow_start", l.SlowStart.Seconds(), 0, 24 * 3600},
	}
}

// Holds reports whether the value is between its bounds; NaN is not.
func (b LawBound) Holds() bool { return b.Value >= b.Low && b.Value <= b.High }

// Check says which number cannot be, or nil.
func (l Law) Check() error {
	for _, b := range l.Bounds() {
		if !b.Holds() {
			return fmt.Errorf("weights: %s %v is not between %v and %v", b.Name, b.Value, b.Low, b.High)
		}
	}
	if int(l.Mode) >= len(modeNames) {
		return fmt.Errorf("weights: resource mode %d is not %s", l.Mode, ResourceModeNames)
	}
	if l.Metric == "" && l.Mode == ModeCapacity {
		return fmt.Errorf("weights: mode capacity follows a metric; none is named")
	}
	return nil
}

// Metrics that agents report under these names. Those of the first line are
// ratios between 0 and 1.
const (
	MetricCPU    = "cpu"
	MetricMemory = "memory"

	MetricIOPS        = "iops"
	MetricLoad        = "load"
	MetricConnections = "connections"

	MaxValue float64 = 1e12 // of any metric
)

// Limit is the value of a metric over which a backend is cut off, and the one
// under which it is taken back.
type Limit struct {
	Metric string
	Max    float64
	Clear  float64
}

// clearPoints is how much lower than it trips a limit clears.
const clearPoints = 0.10

// RatioLimit is a limit of a metric between 0 and 1, as max_cpu=80% is one of
// 0.8. It clears 10 points lower, but not under half of itself.
func RatioLimit(metric string, limit float64) Limit {
	return Limit{Metric: metric, Max: limit, Clear: max(limit-clearPoints, limit/2)}
}

// CountLimit is a limit of a metric without a natural end, as max_iops=1000.
// It clears 10 % lower.
func CountLimit(metric string, limit float64) Limit {
	return Limit{Metric: metric, Max: limit, Clear: limit * (1 - clearPoints)}
}

// Check says why a limit cannot be, or nil.
func (l Limit) Check() error {
	if l.Metric == "" || strings.ContainsAny(l.Metric, " \t\n") {
		return fmt.Errorf("limit of metric %q: not a name", l.Metric)
	}
	if !(l.Max > 0 && l.Max <= MaxValue && l.Clear >= 0 && l.Clear <= l.Max) {
		return fmt.Errorf("limit of metric %q: %v, clearing at %v, cannot be", l.Metric, l.Max, l.Clear)
	}
	return nil
}
