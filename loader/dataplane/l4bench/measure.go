package main

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"weir/bpf/bench"
	"weir/loader/lb"
	"weir/loader/table"
)

// effort is how often and how long something is measured: packets that warm
// caches up, and packets that count.
type effort struct {
	rounds        int
	warm, packets uint32
}

// effortFor: figures of few flows are small, so that noise is a larger part of
// them, but caches are soon warm. What else a machine does comes and goes in
// parts of a second: many short rounds outlast it.
func effortFor(flows int) effort {
	if flows <= 1000 {
		return effort{rounds: 41, warm: 10_000, packets: 100_000}
	}
	return effort{rounds: 3, warm: 200_000, packets: 500_000}
}

var flowCounts = []int{1, 1_000, 100_000, flowsLimit}

// Orders of a plan, as enum order has them.
const (
	orderRand = 0
	orderEach = 1
	orderNew  = 2
)

// measureFamily measures every forwarding mode in the same rounds.
func (l *lab) measureFamily(family int, forwards []lb.Forward, report reporter) (err error) {
	var all []*subject
	defer func() {
		for _, s := range all {
			err = errors.Join(err, s.close())
		}
	}()
	for i, s := range subjects(family, forwards) {
		if err := s.open(l, i); err != nil {
			return fmt.Errorf("%s: %w", s.forward, err)
		}
		all = append(all, s)
	}
	maglev := all[:len(forwards)]
	for _, flows := range flowCounts {
		if err := l.compare(established, maglev, flows, report); err != nil {
			return err
		}
	}
	if err := l.compare(syn, all, flowsLimit, report); err != nil {
		return err
	}
	return reportMemory(maglev, report)
}

// subjects are one of each forwarding mode, and two for new flows only: into a
// pool of which every backend is compared, and into a larger one.
func subjects(family int, forwards []lb.Forward) (all []*subject) {
	for _, f := range forwards {
		all = append(all, &subject{forward: f, family: family, algorithm: lb.Maglev, backends: 100})
	}
	for _, backends := range []int{table.LeastExact, 100} {
		all = append(all, &subject{forward: forwards[0], family: family, algorithm: lb.LeastConn, backends: backends})
	}
	return all
}

func reportMemory(subjects []*subject, report reporter) error {
	for _, s := range subjects {
		weight := line{Case: memory, Forward: s.forward.String(), Family: s.family, Flows: flowsLimit,
			Algorithm: s.algorithm.String(), Backends: s.backends, Bytes: s.mapBytes()}
		if err := report(weight); err != nil {
			return err
		}
	}
	return nil
}

// compare measures established or new flows: each round runs the baseline, the
// yardstick and every subject.
func (l *lab) compare(what string, subjects []*subject, flows int, report reporter) error {
	for _, s := range subjects {
		if err := s.populate(l, flows); err != nil {
			return fmt.Errorf("%s: %w", s.forward, err)
		}
	}
	plan := newPlan(subjects[0].vip(), orderRand, flows, tcpACK)
	if what == syn {
		plan = newPlan(subjects[0].vip(), orderNew, flows, tcpSYN)
	}
	if err := l.fill(subjects[0].vip(), flows); err != nil {
		return err
	}
	results, effort := make([]rounds, len(subjects)), effortFor(flows)
	for range effort.rounds {
		if err := l.round(effort, &plan, subjects, results); err != nil {
			return err
		}
	}
	for i, s := range subjects {
		name := what
		if s.algorithm == lb.LeastConn {
			name = synLeast
		}
		if err := report(results[i].line(name, s, flows)); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) round(e effort, plan *bench.BenchPlan, subjects []*subject, results []rounds) error {
	base, err := l.steady(e, l.objects.Answer, plan)
	if err != nil {
		return err
	}
	yardstick, err := l.steady(e, l.objects.Yardstick, plan)
	if err != nil {
		return err
	}
	for i, s := range subjects {
		ns, err := l.steady(e, s.plane.Program(), plan)
		if err != nil {
			return fmt.Errorf("%s: %w", s.forward, err)
		}
		results[i].add(ns-base, yardstick-base)
	}
	return nil
}

// steady warms caches up and then measures. Plans of new flows go on where the
// last run ended.
func (l *lab) steady(e effort, p *ebpf.Program, plan *bench.BenchPlan) (float64, error) {
	if _, err := l.run(p, *plan, e.warm); err != nil {
		return 0, err
	}
	plan.Next += uint64(e.warm)
	ns, err := l.run(p, *plan, e.packets)
	plan.Next += uint64(e.packets)
	return ns, err
}
