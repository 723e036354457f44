// Package lab is a seeded discrete-event simulator of pools under load. It
// runs the production control law (loader/weight) and tables (loader/table)
// against modelled servers, agents and clients: the same seed gives the same
// figures.
package lab

import (
	"fmt"
	"slices"
	"time"
)

// Server is one backend of a scenario: so many cores, each of which serves one
// request at a time, and a queue before them.
type Server struct {
	Cores  int
	Joins  time.Duration // when it comes into the pool; 0: it is there from the start
	Cold   bool          // its first requests cost five times as much
	Lie    Lie
	Change Change
}

// Change is a neighbour that takes cores from the server for a time.
type Change struct {
	Cores    int
	From, To time.Duration
}

// Lie is how an agent misleads.
type Lie uint8

// Lies.
const (
	Honest  Lie = iota
	Idle        // always 2 % busy
	Third       // a third of the truth
	Busy        // always 100 % busy
	Noise       // anything
	Frozen      // what was true when the run began
	Silence     // no report after the disturbance
)

// Scenario is one experiment. Its disturbance, if there is one, comes at
// Disturbed; figures are taken from a while after it to the end.
type Scenario struct {
	Name, Text string
	Servers    []Server
	Load       func(time.Duration) float64 // offered work over the work that all cores can do
	Disturbed  time.Duration
	Duration   time.Duration
	Delay      time.Duration // of reports
	Nodes      int
	Requests   int           // of a flow, in the mean
	Think      time.Duration // between two requests of a flow, in the mean
	SlowStart  time.Duration // for algorithms with weights by resources
}

const (
	serviceMean  = 5 * time.Millisecond
	queueLimit   = 256 // a request that finds this many before it fails
	coldCost     = 4   // more than a warm one, at first
	coldRequests = 20000
	settleTime   = 30 * time.Second // after a disturbance, figures are taken from here on
)

func steady(load float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return load }
}

// ramp rises between two times.
func ramp(from, to float64, start, end time.Duration) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		part := (t - start).Seconds() / (end - start).Seconds()
		return from + min(max(part, 0), 1)*(to-from)
	}
}

func servers(n, cores int) []Server {
	return slices.Repeat([]Server{{Cores: cores}}, n)
}

// equal is the base that the scenarios vary: ten servers of four cores, two of
// which are a neighbour's from the first minute on if one comes.
func equal(name, text string) Scenario {
	return Scenario{
		Name: name, Text: text, Servers: servers(10, 4), Load: steady(0.6),
		Duration: 5 * time.Minute, Delay: time.Second, Nodes: 1, Requests: 1,
	}
}

func neighbour(name, text string) Scenario {
	s := equal(name, text)
	s.Disturbed = time.Minute
	s.Servers[0].Change = Change{Cores: 2, From: s.Disturbed, To: s.Duration}
	return s
}

func unequal(name, text string) Scenario {
	s := equal(name, text)
	s.Servers = slices.Concat(servers(5, 2), servers(5, 8))
	return s
}

func lying(name, text string, lie Lie) Scenario {
	s := equal(name, text)
	s.Disturbed = time.Minute
	s.Servers[0].Lie, s.Servers[1].Lie = lie, lie
	return s
}

// Scenarios are all that there are, in the order of the documentation.
func Scenarios() []Scenario {
	all := []Scenario{
		equal("equal", "ten equal backends at 60 %"),
		unequal("unequal", "capacities 1:4, configured as equal, at 60 %"),
		neighbour("neighbour", "from 1:00 a neighbour takes half of one backend"),
		neighbour("neighbour-leaves", "at 3:00 a neighbour gives half of a backend back"),
		equal("ramp", "from 30 % to 130 % of the capacity within four minutes"),
	}
	all[3].Servers[0].Change = Change{Cores: 2, To: 3 * time.Minute}
	all[3].Disturbed, all[3].Duration = 3*time.Minute, 7*time.Minute
	all[4].Load = ramp(0.3, 1.3, 0, 4*time.Minute)
	for _, d := range []time.Duration{100 * time.Millisecond, time.Second, 10 * time.Second} {
		s := neighbour("delay-"+d.String(), fmt.Sprintf("the neighbour, with reports that are %s old", d))
		s.Delay = d
		all = append(all, s)
	}
	all = append(all,
		lying("liars-idle", "20 % of the agents always say 2 %", Idle),
		lying("liars-third", "20 % of the agents say a third of the truth", Third),
		lying("liars-busy", "20 % of the agents always say 100 %", Busy),
		lying("liars-noise", "20 % of the agents say anything", Noise),
		lying("liars-frozen", "20 % of the agents say what was true at first", Frozen),
		lying("silent", "20 % of the agents fall silent, one of them with the neighbour", Silence),
	)
	all[len(all)-1].Servers[0].Change = Change{Cores: 2, From: 30 * time.Second, To: 5 * time.Minute}
	return append(all, long(), nodes(2), nodes(8), cold())
}

func long() Scenario {
	s := neighbour("long-flows", "the neighbour, with flows of 50 requests within about a minute")
	s.Requests, s.Think, s.Duration = 50, time.Second, 10*time.Minute
	return s
}

func nodes(n int) Scenario {
	s := neighbour(fmt.Sprintf("nodes-%d", n), fmt.Sprintf("the neighbour, with %d balancers that do not talk", n))
	s.Nodes = n
	return s
}

func cold() Scenario {
	s := equal("cold", "at 1:00 a backend joins whose first requests cost five times as much")
	s.Disturbed, s.SlowStart = time.Minute, 30*time.Second
	s.Servers[9].Joins, s.Servers[9].Cold = s.Disturbed, true
	return s
}

// Find is the scenario of this name.
func Find(name string) (Scenario, error) {
	all := Scenarios()
	names := make([]string, len(all))
	for i, s := range all {
		if names[i] = s.Name; s.Name == name {
			return s, nil
		}
	}
	return Scenario{}, fmt.Errorf("scenario %q is not one of %v", name, names)
}
