package lab

import (
	"fmt"
	"time"

	"weir/loader/lb"
)

// Algorithm is a way to choose backends and where its weights come from.
type Algorithm struct {
	Name string
	Pick Pick
	Mode lb.ResourceMode
	// Naive weights are the free part of the CPU as last reported, published
	// every second: what the law is there to improve on.
	Naive bool
	Limit float64 // of the CPU, 0: none
}

// Pick is how a backend is chosen from a table.
type Pick uint8

// Picks, as bpf/pick.h has them.
const (
	ByHash Pick = iota
	InTurn
	Least
	LeastOfTwo
)

// Algorithms are all that there are, in the order of the documentation.
func Algorithms() []Algorithm {
	return []Algorithm{
		{Name: "round_robin", Pick: InTurn},
		{Name: "weighted_round_robin", Pick: InTurn},
		{Name: "least_conn", Pick: Least},
		{Name: "random", Pick: LeastOfTwo},
		{Name: "maglev", Pick: ByHash},
		{Name: "maglev+naive", Pick: ByHash, Naive: true},
		{Name: "maglev+cutoff", Pick: ByHash, Mode: lb.ModeCutoff, Limit: 0.8},
		{Name: "maglev+headroom", Pick: ByHash, Mode: lb.ModeHeadroom},
		{Name: "resource_based", Pick: ByHash, Mode: lb.ModeCapacity},
		{Name: "weighted_round_robin+resource", Pick: InTurn, Mode: lb.ModeCapacity},
		{Name: "least_conn+resource", Pick: Least, Mode: lb.ModeCapacity},
		{Name: "random+resource", Pick: LeastOfTwo, Mode: lb.ModeCapacity},
	}
}

// FindAlgorithm is the algorithm of this name.
func FindAlgorithm(name string) (Algorithm, error) {
	all := Algorithms()
	names := make([]string, len(all))
	for i, a := range all {
		if names[i] = a.Name; a.Name == name {
			return a, nil
		}
	}
	return Algorithm{}, fmt.Errorf("algorithm %q is not one of %v", name, names)
}

// byTable reports whether shares follow from the table alone.
func (a Algorithm) byTable() bool { return a.Pick == ByHash || a.Pick == InTurn }

func (a Algorithm) table() lb.Algorithm {
	switch {
	case a.Name == "round_robin":
		return lb.RoundRobin
	case a.Pick == InTurn:
		return lb.WeightedRoundRobin
	case a.Pick == Least:
		return lb.LeastConn
	}
	return lb.Maglev
}

func (a Algorithm) settings(slowStart time.Duration) lb.Law {
	s := lb.DefaultLaw()
	s.Mode = a.Mode
	if a.Mode != lb.ModeStatic {
		s.SlowStart = slowStart
	}
	return s
}
