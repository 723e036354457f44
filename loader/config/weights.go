package config

import (
	"fmt"
	"slices"
	"time"

	"weir/loader/lb"
)

// resourceBased is the short form of maglev with weights by resources.
const resourceBased = "resource_based"

const algorithmNames = resourceBased + ", " + lb.AlgorithmNames

// Names of a pool's weights.
const (
	weightsStatic   = "static"
	weightsResource = "resource"
)

// readLimits reads over what a backend is cut off.
func (raw backend) limits(r *report, p *path) []lb.Limit {
	var all []lb.Limit
	for _, l := range []struct {
		key, metric string
		raw         *amount
	}{
		{"max_cpu", lb.MetricCPU, raw.MaxCPU}, {"max_memory", lb.MetricMemory, raw.MaxMemory},
		{"max_iops", lb.MetricIOPS, raw.MaxIOPS}, {"max_load", lb.MetricLoad, raw.MaxLoad},
		{"max_connections", lb.MetricConnections, raw.MaxConnections},
	} {
		if l.raw != nil {
			all = addLimit(r, p.key(l.key), all, l.metric, *l.raw)
		}
	}
	for i, l := range raw.Limits {
		at := p.key("limits").item(i)
		switch {
		case l.Metric == "":
			r.missing(at.key("metric"), "the name of a metric that agents report, such as psi_memory")
		case l.Max == nil:
			r.missing(at.key("max"), "a number, or a percentage such as 80%")
		default:
			all = addLimit(r, at.key("max"), all, l.Metric, *l.Max)
		}
	}
	return all
}

// isRatio reports whether limits of a metric must be percentages.
func isRatio(metric string) bool { return metric == lb.MetricCPU || metric == lb.MetricMemory }

func addLimit(r *report, p *path, all []lb.Limit, metric string, raw amount) []lb.Limit {
	v, percent, err := raw.value()
	limit := lb.CountLimit(metric, v)
	if percent {
		limit = lb.RatioLimit(metric, v)
	}
	twice := slices.ContainsFunc(all, func(l lb.Limit) bool { return l.Metric == metric })
	switch {
	case err != nil:
		r.field(p, "%s %s", quote(string(raw)), err)
	case isRatio(metric) && !percent:
		r.field(p, "%s is not a percentage such as 80%%", quote(string(raw)))
	case percent && !(v > 0 && v <= 1):
		r.field(p, "%s is not above 0%% and at most 100%%", quote(string(raw)))
	case limit.Check() != nil:
		r.field(p, "%s for metric %s is not a name and a number above 0", quote(string(raw)), quote(metric))
	case twice:
		r.field(p, "metric %s has a limit already", quote(metric))
	default:
		return append(all, limit)
	}
	return all
}

// lawReader reads how the weights of a pool follow health and reports. Its
// agents and backends have been read.
type lawReader struct {
	r    *report
	p    *path
	raw  pool
	pool lb.Pool
}

func (l lawReader) read() lb.Law {
	law := lb.DefaultLaw()
	law.Mode = l.mode()
	law.Panic = l.amount(l.p.key("panic_threshold"), l.raw.PanicThreshold, law.Panic)
	law.SlowStart = duration(l.raw.SlowStart, 0)
	law.Interval = l.interval(law.Interval)
	if raw := l.raw.Resources; raw != nil {
		p := l.p.key("resources")
		if raw.Metric != nil {
			law.Metric = *raw.Metric
		}
		law.Smoothing, law.HoldOff = duration(raw.Smoothing, law.Smoothing), duration(raw.HoldOff, law.HoldOff)
		law.Min, law.Max = l.amount(p.key("min"), raw.Min, law.Min), l.amount(p.key("max"), raw.Max, law.Max)
		law.Step, law.DeadBand = l.amount(p.key("step"), raw.Step, law.Step), l.amount(p.key("dead_band"), raw.DeadBand, law.DeadBand)
		law.MaxMove = l.amount(p.key("max_move"), raw.MaxMove, law.MaxMove)
		if law.Metric == "" {
			l.r.field(p.key("metric"), `"" is not the name of a metric such as cpu`)
		}
	}
	l.checkBounds(law)
	l.checkAgents(law)
	l.checkAlgorithm(law)
	return law
}

// mode follows from several keys: limits alone cut off, and no more.
func (l lawReader) mode() lb.ResourceMode {
	limited := slices.ContainsFunc(l.pool.Backends, func(b lb.Backend) bool { return len(b.Limits) > 0 })
	short := l.raw.Algorithm != nil && *l.raw.Algorithm == resourceBased
	kind, said := weightsStatic, l.raw.Weights != nil
	if said {
		kind = *l.raw.Weights
	}
	switch {
	case kind != weightsStatic && kind != weightsResource:
		l.r.field(l.p.key("weights"), "%s is not %s or %s", quote(kind), weightsStatic, weightsResource)
	case said && kind == weightsStatic:
		l.checkStatic(short, limited)
	case l.raw.Resources != nil && l.raw.Resources.Mode != nil:
		return l.resourceMode(*l.raw.Resources.Mode)
	case short, kind == weightsResource, l.raw.Resources != nil:
		return lb.ModeCapacity
	case limited:
		return lb.ModeCutoff
	}
	return lb.ModeStatic
}

// checkStatic refuses what has no meaning beside static weights.
func (l lawReader) checkStatic(short, limited bool) {
	p := l.p.key("weights")
	switch {
	case short:
		l.r.field(p, "static contradicts the algorithm %s", resourceBased)
	case l.raw.Resources != nil:
		l.r.field(p, "static contradicts resources")
	case limited:
		l.r.field(p, "static contradicts the limits of backends")
	}
}

func (l lawReader) resourceMode(name string) lb.ResourceMode {
	mode, err := lb.ParseResourceMode(name)
	if err != nil || mode == lb.ModeStatic {
		l.r.field(l.p.key("resources").key("mode"), "%s is not cutoff, headroom or capacity", quote(name))
		return lb.ModeStatic
	}
	return mode
}

// interval is that of the slowest agent.
func (l lawReader) interval(otherwise time.Duration) time.Duration {
	var slowest time.Duration
	for _, b := range l.pool.Backends {
		slowest = max(slowest, l.pool.AgentOf(b).Interval)
	}
	if slowest == 0 {
		return otherwise
	}
	return slowest
}

func (l lawReader) amount(p *path, raw *amount, otherwise float64) float64 {
	if raw == nil {
		return otherwise
	}
	v, _, err := raw.value()
	if err != nil {
		l.r.field(p, "%s %s", quote(string(*raw)), err)
		return otherwise
	}
	return v
}

func duration(raw *time.Duration, otherwise time.Duration) time.Duration {
	if raw == nil {
		return otherwise
	}
	return *raw
}

func (l lawReader) checkBounds(law lb.Law) {
	for _, b := range law.Bounds() {
		p := l.p.key("resources").key(b.Name)
		unit := ""
		switch b.Name {
		case "panic_threshold", "slow_start":
			p = l.p.key(b.Name)
		case "interval":
			continue // the agents' own are checked
		}
		switch b.Name {
		case "slow_start", "smoothing", "hold_off":
			unit = " seconds"
		}
		if !b.Holds() {
			l.r.field(p, "%v is not in %.4g..%v%s", b.Value, b.Low, b.High, unit)
		}
	}
}

// checkAgents reports limits that nobody could tell of.
func (l lawReader) checkAgents(law lb.Law) {
	asked := false
	for i, b := range l.pool.Backends {
		has := l.pool.AgentOf(b).Enabled()
		asked = asked || has
		if len(b.Limits) > 0 && l.pool.AgentOf(b).Protocol == lb.AgentHAProxy {
			l.r.field(l.p.key("backends").item(i), "has a limit of %s, but agents of protocol haproxy report no values", b.Limits[0].Metric)
			return
		}
		if len(b.Limits) > 0 && !has {
			l.r.missing(l.p.key("backends").item(i).key("agent"), fmt.Sprintf("needed here or in the pool, as there is a limit of %s", b.Limits[0].Metric))
			return
		}
	}
	if law.Mode != lb.ModeStatic && !asked && len(l.pool.Backends) > 0 {
		l.r.missing(l.p.key("agent"), "needed, as weights follow the reports of agents")
	}
}

func (l lawReader) checkAlgorithm(law lb.Law) {
	if l.pool.Algorithm == lb.RoundRobin && law.Mode > lb.ModeCutoff {
		l.r.field(l.p.key("algorithm"), "round_robin ignores weights, which follow resources here; use weighted_round_robin, or the mode cutoff")
	}
}
