package weight

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/loader/lb"
)

// Mode is how the reports of agents move weights.
type Mode uint8

// Modes. In all but Static a backend over one of its limits is cut off.
const (
	Static   Mode = iota // reports change nothing
	Cutoff               // only the limits count
	Headroom             // by what is free below the limits
	Capacity             // by the traffic that a backend carries per utilisation, as gRPC's A58 does
)

// ModeNames lists the modes for people.
const ModeNames = "static, cutoff, headroom or capacity"

var modeNames = [...]string{Static: "static", Cutoff: "cutoff", Headroom: "headroom", Capacity: "capacity"}

// ParseMode reads one of ModeNames.
func ParseMode(s string) (Mode, error) {
	if i := slices.Index(modeNames[:], s); i >= 0 {
		return Mode(i), nil
	}
	return 0, fmt.Errorf("resource mode %q is not %s", s, ModeNames)
}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode-%d", uint8(m))
}

// Settings are the control law of one pool. Start from DefaultSettings.
type Settings struct {
	Mode   Mode
	Metric string // what Capacity follows, and Headroom where a backend has no limits

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

// DefaultSettings follow the CPU in Capacity mode. docs/balance.md has what
// the figures were chosen by.
func DefaultSettings() Settings {
	return Settings{
		Mode: Capacity, Metric: "cpu",
		Interval: time.Second, Smoothing: 3 * time.Second,
		Min: 0.1, Max: MaxFactor, Step: 0.1, DeadBand: 0.04, HoldOff: time.Second, MaxMove: 0.1,
		Panic: 0.5,
	}
}

// Check says which setting cannot be, or nil.
func (s Settings) Check() error {
	for _, c := range []struct {
		name      string
		value     float64
		low, high float64
	}{
		{"min", s.Min, 1.0 / 64, 1},
		{"max", s.Max, 1, MaxFactor},
		{"step", s.Step, 1.0 / 64, 1},
		{"dead band", s.DeadBand, 0, 1},
		{"max move", s.MaxMove, 0.01, 1},
		{"panic threshold", s.Panic, 0, 1},
		{"interval in seconds", s.Interval.Seconds(), 0.1, 3600},
		{"smoothing in seconds", s.Smoothing.Seconds(), 0, 3600},
		{"hold-off in seconds", s.HoldOff.Seconds(), 0, 3600},
		{"slow start in seconds", s.SlowStart.Seconds(), 0, 24 * 3600},
	} {
		if !(c.value >= c.low && c.value <= c.high) {
			return fmt.Errorf("weights: %s %v is not between %v and %v", c.name, c.value, c.low, c.high)
		}
	}
	if int(s.Mode) >= len(modeNames) {
		return fmt.Errorf("weights: resource mode %d is not %s", s.Mode, ModeNames)
	}
	if s.Metric == "" && s.Mode == Capacity {
		return fmt.Errorf("weights: mode capacity follows a metric; none is named")
	}
	return nil
}

// Backend is one server of the pool as configured.
type Backend struct {
	Endpoint   netip.AddrPort
	Configured lb.Weight
	Limits     []Limit
}

func (b Backend) limit(metric string) (Limit, bool) {
	for _, l := range b.Limits {
		if l.Metric == metric {
			return l, true
		}
	}
	return Limit{}, false
}

// Limit is the value of a metric over which a backend is cut off, and the one
// under which it is taken back.
type Limit struct {
	Metric string
	Max    float64
	Clear  float64
}

// clearPoints is how much lower than it trips a limit clears.
const clearPoints = 0.10

// Ratio is a limit of a metric between 0 and 1, as max_cpu=80% is one of 0.8.
// It clears 10 points lower, but not under half of itself.
func Ratio(metric string, limit float64) Limit {
	return Limit{Metric: metric, Max: limit, Clear: max(limit-clearPoints, limit/2)}
}

// Count is a limit of a metric without a natural end, as max_iops=1000. It
// clears 10 % lower.
func Count(metric string, limit float64) Limit {
	return Limit{Metric: metric, Max: limit, Clear: limit * (1 - clearPoints)}
}

func (l Limit) check() error {
	if l.Metric == "" || strings.ContainsAny(l.Metric, " \t\n") {
		return fmt.Errorf("limit of metric %q: not a name", l.Metric)
	}
	if !(l.Max > 0 && l.Max <= maxValue && l.Clear >= 0 && l.Clear <= l.Max) {
		return fmt.Errorf("limit of metric %q: %v, clearing at %v, cannot be", l.Metric, l.Max, l.Clear)
	}
	return nil
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
			if err := l.check(); err != nil {
				return fmt.Errorf("backend %s: %w", b.Endpoint, err)
			}
		}
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
