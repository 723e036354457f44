package lab

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"
)

// Step is how algorithms do at one load of a pool whose configured weights are
// wrong: a multiple of the load at which one of its backends starts to queue
// under these weights.
type Step struct {
	Scenario string   `json:"scenario"`
	Multiple float64  `json:"load_over_queueing"`
	Capacity float64  `json:"load_over_capacity"`
	Results  []Result `json:"results"`
}

// Multiples are the loads that Steps tries, up to nearly all of the capacity.
func Multiples() []float64 {
	return []float64{0.9, 1, 1.03, 1.1, 1.2, 1.3, 1.5, 1.7, 1.8, 2, 2.2, 2.4}
}

const (
	mostOfCapacity = 0.97
	stepDuration   = 150 * time.Second
)

// StepScenarios are the pools of Steps: with a neighbour, and of unequal
// capacities.
func StepScenarios() []Scenario {
	n := neighbour("neighbour", "a neighbour has half of one backend")
	n.Servers[0].Change.From = 0
	u := unequal("unequal", "capacities 1:4, configured as equal")
	for _, s := range []*Scenario{&n, &u} {
		s.Duration, s.Disturbed = stepDuration, settleTime
	}
	n.Servers[0].Change.To = 2 * stepDuration
	return []Scenario{n, u}
}

// available are the cores that the neighbour leaves, least those of the
// smallest server.
func (s Scenario) available() (all, least, nominal float64) {
	least = math.Inf(1)
	for _, b := range s.Servers {
		free := float64(b.Cores - b.Change.Cores)
		all, least, nominal = all+free, min(least, free), nominal+float64(b.Cores)
	}
	return all, least, nominal
}

// RunSteps tries algorithms at each load.
func RunSteps(sc Scenario, multiples []float64, algorithms []Algorithm, seed uint64) ([]Step, error) {
	all, least, nominal := sc.available()
	var steps []Step
	for _, m := range multiples {
		work := m * least * float64(len(sc.Servers)) // in cores
		if work > mostOfCapacity*all {
			continue
		}
		at := sc
		at.Load = steady(work / nominal)
		results, err := RunAll([]Scenario{at}, algorithms, seed)
		if err != nil {
			return nil, err
		}
		steps = append(steps, Step{sc.Name, m, work / all, results})
	}
	return steps, nil
}

// RunAll runs every algorithm in every scenario, as many at a time as there
// are processors, and returns the results in order.
func RunAll(scenarios []Scenario, algorithms []Algorithm, seed uint64) ([]Result, error) {
	results := make([]Result, len(scenarios)*len(algorithms))
	errs := make([]error, len(results))
	turns := make(chan int)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for i := range turns {
				results[i], errs[i] = Run(scenarios[i/len(algorithms)], algorithms[i%len(algorithms)], seed)
			}
		})
	}
	for i := range results {
		turns <- i
	}
	close(turns)
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("seed %d: %w", seed, err)
		}
	}
	return results, nil
}
