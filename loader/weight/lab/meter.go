package lab

import (
	"math"
	"time"
)

// meter is what a run is judged by.
type meter struct {
	servers  []Server
	byTable  bool
	from     int64 // latencies and utilisations count from here on
	latency  histogram
	requests uint64
	errors   uint64 // of the whole run
	arrived  []uint64
	areas    []float64 // at from

	last     []uint64  // arrived, a second ago
	area     []float64 // a second ago
	smoothed []float64 // requests by server, over about ten seconds
	series   Series
}

// Series are one sample per second and backend.
type Series struct {
	Utilisation [][]float64 // measured, the neighbour included
	Weight      [][]float64 // programmed, mean of the nodes, in configured weights
	Expected    [][]float64 // utilisation that the table, or the choices of the last ten seconds, will lead to
}

func newMeter(sc Scenario, a Algorithm) *meter {
	n := len(sc.Servers)
	return &meter{
		servers: sc.Servers, byTable: a.byTable(), from: int64(sc.Disturbed + settleTime),
		arrived: make([]uint64, n), last: make([]uint64, n), area: make([]float64, n), smoothed: make([]float64, n),
	}
}

func (m *meter) offered(server int) { m.arrived[server]++ }

func (m *meter) failed(int64) {
	m.requests++
	m.errors++
}

func (m *meter) served(now, took int64) {
	m.requests++
	if now >= m.from {
		m.latency.add(took)
	}
}

func (m *meter) second(s *sim) {
	n := len(s.servers)
	used, weights := make([]float64, n), make([]float64, n)
	for i := range s.servers {
		to := &s.servers[i]
		to.account(s.now)
		used[i] = (to.area - m.area[i]) / float64(to.Cores) / float64(time.Second)
		m.area[i] = to.area
	}
	for _, node := range s.nodes {
		for i, w := range node.weights {
			weights[i] += float64(w) / 64 / float64(len(s.nodes))
		}
	}
	if m.areas == nil && s.now >= m.from {
		m.areas = append([]float64(nil), m.area...)
	}
	m.series.Utilisation = append(m.series.Utilisation, used)
	m.series.Weight = append(m.series.Weight, weights)
	m.series.Expected = append(m.series.Expected, m.expected(s, weights))
}

// expected is the utilisation that new flows will lead to.
func (m *meter) expected(s *sim, weights []float64) []float64 {
	for i, n := range m.arrived {
		m.smoothed[i] = math.Exp(-1.0/10)*m.smoothed[i] + float64(n-m.last[i])
		m.last[i] = n
	}
	shares := m.smoothed
	if m.byTable {
		shares = weights
	}
	total := 0.0
	for _, w := range shares {
		total += w
	}
	offered := s.Load(time.Duration(s.now)) * s.capacity * serviceMean.Seconds()
	all := make([]float64, len(shares))
	for i, w := range shares {
		to := &s.servers[i]
		all[i] = (offered*w/total + float64(to.taken)) / float64(to.Cores)
	}
	return all
}
