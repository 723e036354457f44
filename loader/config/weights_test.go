package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"weir/loader/lb"
	"weir/loader/table"
)

func TestLaw(t *testing.T) {
	dir := agentKeys(t)
	for _, c := range []struct {
		name, pool string
		want       func(*lb.Law)
	}{
		{"nothing", "", func(*lb.Law) {}},
		{"static", "weights: static, agent: {port: 1, KEYS}, ", func(*lb.Law) {}},
		{"resource", "weights: resource, agent: {port: 1, KEYS}, ", func(l *lb.Law) { l.Mode = lb.ModeCapacity }},
		{"resource_based", "algorithm: resource_based, agent: {port: 1, KEYS}, ", func(l *lb.Law) { l.Mode = lb.ModeCapacity }},
		{"a mode", "resources: {mode: headroom}, agent: {port: 1, KEYS}, ", func(l *lb.Law) { l.Mode = lb.ModeHeadroom }},
		{"all", "slow_start: 1m, panic_threshold: 30%, agent: {port: 1, interval: 5s, KEYS}, resources: {metric: memory, smoothing: 9s, min: 20%, max: 1.5, step: 0.05, dead_band: 2%, hold_off: 3s, max_move: 5%}, ",
			func(l *lb.Law) {
				*l = lb.Law{Mode: lb.ModeCapacity, Metric: "memory", Interval: 5 * time.Second, Smoothing: 9 * time.Second, Min: 0.2, Max: 1.5,
					Step: 0.05, DeadBand: 0.02, HoldOff: 3 * time.Second, MaxMove: 0.05, SlowStart: time.Minute, Panic: 0.3}
			}},
	} {
		got, err := Parse("f", withKeys(dir, "pools: [{name: p, "+c.pool+"backends: [{address: 10.0.0.1}]}]\n"))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := lb.DefaultLaw()
		c.want(&want)
		if p := got.Pools[0]; p.Law != want || p.Algorithm != lb.Maglev {
			t.Errorf("%s: %s, law %+v, want %+v", c.name, p.Algorithm, p.Law, want)
		}
	}
}

func TestLimits(t *testing.T) {
	dir := agentKeys(t)
	c, err := Parse("f", withKeys(dir, `pools:
- name: p
  agent: {port: 1, KEYS}
  backends:
  - server: "10.0.0.11:80 max_cpu=80%"
  - server: "[2001:db8::1]:80 weight=3 max_memory=90.5% max_iops=1000"
  - {address: "10.0.0.13:80", max_load: 4.5, max_connections: 20000, limits: [{metric: psi_memory, max: 20%}, {metric: custom.queue, max: 1e3}]}
  - server: "10.0.0.14"
`))
	if err != nil {
		t.Fatal(err)
	}
	p := c.Pools[0]
	for i, want := range [][]lb.Limit{
		{lb.RatioLimit("cpu", 0.8)},
		{lb.RatioLimit("memory", 0.905), lb.CountLimit("iops", 1000)},
		{lb.CountLimit("load", 4.5), lb.CountLimit("connections", 20000), lb.RatioLimit("psi_memory", 0.2), lb.CountLimit("custom.queue", 1000)},
		nil,
	} {
		if !slices.Equal(p.Backends[i].Limits, want) {
			t.Errorf("limits of %s: %v, want %v", p.Backends[i].Endpoint(), p.Backends[i].Limits, want)
		}
	}
	if p.Law.Mode != lb.ModeCutoff || p.Backends[1].Weight != 3 || p.Backends[0].Weight != 1 || p.Backends[3].Port != 0 {
		t.Errorf("mode %s, weights %d %d", p.Law.Mode, p.Backends[0].Weight, p.Backends[1].Weight)
	}
}

func TestWeightFaults(t *testing.T) {
	dir := agentKeys(t)
	const agent, one = "agent: {port: 1, KEYS}, ", "backends: [{address: 10.0.0.1}]"
	for _, c := range []struct{ name, pool, want string }{
		{"weights", "weights: dynamic, " + one, `f:2: pools[0].weights: "dynamic" is not static or resource`},
		{"mode", agent + "resources: {mode: static}, " + one, `resources.mode: "static" is not cutoff, headroom or capacity`},
		{"contradiction", agent + "weights: static, resources: {min: 20%}, " + one, "pools[0].weights: static contradicts resources"},
		{"short form", agent + "weights: static, algorithm: resource_based, " + one, "static contradicts the algorithm resource_based"},
		{"limits", agent + "weights: static, backends: [{address: 10.0.0.1, max_cpu: 80%}]", "static contradicts the limits of backends"},
		{"nobody to ask", "weights: resource, " + one, "pools[0].agent: is missing; it is needed, as weights follow the reports of agents"},
		{"nobody to ask of a limit", "backends: [{address: 10.0.0.1, max_cpu: 80%}]", "backends[0].agent: is missing; it is needed here or in the pool, as there is a limit of cpu"},
		{"haproxy reports nothing", "agent: {port: 1, protocol: haproxy}, backends: [{address: 10.0.0.1, max_cpu: 80%}]", "has a limit of cpu, but agents of protocol haproxy report no values"},
		{"round robin", agent + "algorithm: rr, weights: resource, " + one, "pools[0].algorithm: round_robin ignores weights"},
		{"min", agent + "resources: {min: 0}, " + one, "resources.min: 0 is not in 0.01562..1"},
		{"max", agent + "resources: {max: 300%}, " + one, "resources.max: 3 is not in 1..2"},
		{"step", agent + "resources: {step: big}, " + one, `resources.step: "big" is not a number or a percentage such as 80%`},
		{"NaN", agent + "resources: {dead_band: NaN}, " + one, `resources.dead_band: "NaN" is not a number`},
		{"max_move", agent + "resources: {max_move: 0.1%}, " + one, "resources.max_move: 0.001 is not in 0.01..1"},
		{"hold_off", agent + "resources: {hold_off: 2h}, " + one, "resources.hold_off: 7200 is not in 0..3600 seconds"},
		{"metric", agent + "resources: {metric: ''}, " + one, `resources.metric: "" is not the name of a metric`},
		{"slow_start", "slow_start: 48h, " + one, "pools[0].slow_start: 172800 is not in 0..86400 seconds"},
		{"panic_threshold", "panic_threshold: 150%, " + one, "pools[0].panic_threshold: 1.5 is not in 0..1"},
		{"max_cpu without %", agent + "backends: [{address: 10.0.0.1, max_cpu: 80}]", `backends[0].max_cpu: "80" is not a percentage such as 80%`},
		{"max_cpu", agent + "backends: [{address: 10.0.0.1, max_cpu: 101%}]", `max_cpu: "101%" is not above 0% and at most 100%`},
		{"max_iops", agent + "backends: [{address: 10.0.0.1, max_iops: -5}]", `max_iops: "-5" for metric "iops" is not a name and a number above 0`},
		{"a list", agent + "backends: [{address: 10.0.0.1, max_iops: [1]}]", "max_iops: a list is not a number, or a percentage such as 80%"},
		{"twice", agent + "backends: [{address: 10.0.0.1, max_cpu: 80%, limits: [{metric: cpu, max: 70%}]}]", `limits[0].max: metric "cpu" has a limit already`},
		{"no metric", agent + "backends: [{address: 10.0.0.1, limits: [{max: 70%}]}]", "limits[0].metric: is missing"},
		{"no max", agent + "backends: [{address: 10.0.0.1, limits: [{metric: cpu}]}]", "limits[0].max: is missing"},
		{"short: address", agent + "backends: [{server: '10.0.0 max_cpu=80%'}]", "backends[0].server: \"10.0.0\" is not ADDRESS:PORT or ADDRESS"},
		{"short: and address", "backends: [{server: 10.0.0.1, address: 10.0.0.2}]", "it goes without address"},
		{"short: blank", "backends: [{server: ' '}]", `server: " " names no address`},
		{"short: word", "backends: [{server: '10.0.0.1 backup'}]", `has "backup" after the address, which is not key=value`},
		{"short: key", "backends: [{server: '10.0.0.1 max_disk=1'}]", `has the unknown word "max_disk"`},
		{"short: twice", "backends: [{server: '10.0.0.1 weight=1 weight=2'}]", `has "weight", which is there already`},
		{"short: weight", "backends: [{server: '10.0.0.1 weight=x'}]", `has the weight "x", which is not a whole number`},
		{"short: large weight", "backends: [{server: '10.0.0.1 weight=2000'}]", "2000 is not in 0..1000"},
	} {
		_, err := Parse("f", withKeys(dir, "pools: [{name: p, "+c.pool+"}]\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}

// A schedule whose weights move has no common divisor to rely on.
func TestMovingSchedulesNeedRoom(t *testing.T) {
	pool := lb.Pool{Algorithm: lb.WeightedRoundRobin, Law: lb.DefaultLaw(), Backends: []lb.Backend{{Weight: 1}, {Weight: 1}}}
	still := tableEntries(pool)
	pool.Law.SlowStart = time.Second
	if moving := tableEntries(pool); still != 2 || moving != 256 {
		t.Errorf("%d entries, %d with a slow start; want 2 and 256", still, moving)
	}
	pool.Backends[0].Weight = lb.MaxWeight
	if n := tableEntries(pool); n != table.MaxSchedule {
		t.Errorf("%d entries", n)
	}
}

// Whatever a line of a server says, it is taken whole or refused.
func FuzzServer(f *testing.F) {
	for _, s := range []string{"10.0.0.1:80 weight=3 max_cpu=80%", "[2001:db8::1]:80 max_iops=1e3", "10.0.0.1 =", "x y=z", "10.0.0.1 max_load=NaN", "10.0.0.1 max_cpu=-0%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		b := backend{Server: line}
		if err := b.expand(); err != nil || b.Address == "" {
			return
		}
		r := newReport("f")
		r.root = &yaml.Node{Kind: yaml.MappingNode}
		got := readBackend(r, top, b, false)
		if r.err() != nil {
			return
		}
		if !got.Addr.IsValid() || got.Weight > lb.MaxWeight {
			t.Errorf("%q gives %+v", line, got)
		}
		for _, l := range got.Limits {
			if err := l.Check(); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	})
}
