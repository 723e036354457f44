package weight

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weir/loader/lb"
)

func TestProject(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		n := 1 + random.IntN(20)
		weights, claims := make([]float64, n), make([]float64, n)
		var sum float64
		for i := range n {
			weights[i] = float64(1 + random.IntN(100))
			claims[i] = math.Exp(20 * (random.Float64() - 0.5))
			sum += weights[i]
		}
		var got float64
		factors := project(weights, claims, 0.1, 2)
		for i, f := range factors {
			got += weights[i] * f
			if f < 0.1 || f > 2 {
				t.Fatalf("factor %v for claims %v", f, claims)
			}
			for j, g := range factors {
				if claims[i] < claims[j] && f > g {
					t.Fatalf("factors %v are not in the order of claims %v", factors, claims)
				}
			}
		}
		if math.Abs(got/sum-1) > 1e-6 {
			t.Fatalf("the mean factor is %v: %v for claims %v", got/sum, factors, claims)
		}
	}
	if got := project([]float64{1, 1}, []float64{1, 4}, 0.1, 2); math.Abs(got[0]-0.4) > 1e-6 {
		t.Errorf("claims 1:4 give %v", got)
	}
}

// plant is a pool of servers in the mean: utilisation is what they have to do
// over what they can do, and what others do there.
type plant struct {
	capacity, other []float64
	load            float64 // of all, in units of capacity
	delay           int     // seconds that a report is on its way
	reports         [][]Report
}

func (p *plant) run(r *rig, seconds int) (factors [][]float64) {
	for range seconds {
		weights := r.pool.Weights()
		var now []Report
		var sum float64
		for _, w := range weights {
			sum += float64(w)
		}
		for i, w := range weights {
			rate := p.load * float64(w) / sum
			now = append(now, Report{
				Rate: 100 * rate, Age: time.Duration(p.delay) * time.Second,
				Values: map[string]float64{"cpu": min(1, p.other[i]+rate/p.capacity[i])},
			})
		}
		p.reports = append(p.reports, now)
		r.second(func(i int) (Report, bool) {
			if len(p.reports) <= p.delay {
				return Report{}, false
			}
			return p.reports[len(p.reports)-1-p.delay][i], true
		})
		f := make([]float64, len(weights))
		for i, w := range r.pool.Weights() {
			f[i] = float64(w) / unit
		}
		factors = append(factors, f)
	}
	return factors
}

func turns(factors [][]float64, i int) (n int) {
	last := 0.0
	for k := 1; k < len(factors); k++ {
		d := factors[k][i] - factors[k-1][i]
		if d*last < 0 {
			n++
		}
		if d != 0 {
			last = d
		}
	}
	return n
}

// Whatever the delay of reports, weights go where they must and do not swing.
func TestCapacityIsStable(t *testing.T) {
	for _, delay := range []int{0, 2, 10, 30} {
		for _, c := range []struct {
			name  string
			plant plant
			want  []float64
		}{
			{"1:4", plant{capacity: []float64{0.4, 1.6, 0.4, 1.6}, other: make([]float64, 4), load: 2.4}, []float64{0.4, 1.6, 0.4, 1.6}},
			// Equal utilisation u: 3u + (u - 0.5) = 2.
			{"neighbour", plant{capacity: []float64{1, 1, 1, 1}, other: []float64{0.5, 0, 0, 0}, load: 2}, []float64{0.25, 1.25, 1.25, 1.25}},
		} {
			c.plant.delay = delay
			r := newRig(t, capacityLaw(), backends(4))
			factors := c.plant.run(r, 300+20*delay)
			last := factors[len(factors)-1]
			for i, want := range c.want {
				if math.Abs(last[i]-want) > 0.08 {
					t.Errorf("%s, delay %d s: factors %v, want %v", c.name, delay, last, c.want)
					break
				}
				if n := turns(factors, i); n > 2 {
					t.Errorf("%s, delay %d s: backend %d turned %d times", c.name, delay, i, n)
				}
			}
		}
	}
}

// A weight's own effect on the load is four times as large as the weight, so a
// backend may sway by a step of rounding, but by no more.
func TestHeadroomIsStable(t *testing.T) {
	for _, delay := range []int{0, 10} {
		s := capacityLaw()
		s.Mode = lb.ModeHeadroom
		r := newRig(t, s, backends(4))
		p := plant{capacity: []float64{0.5, 1.5, 1, 1}, other: make([]float64, 4), load: 3.2, delay: delay}
		factors := p.run(r, 1200)
		for i := range 4 {
			low, high := math.Inf(1), 0.0
			for _, f := range factors[600:] {
				low, high = min(low, f[i]), max(high, f[i])
			}
			if n := turns(factors[600:], i); n > 20 || high-low > 0.05 {
				t.Errorf("delay %d s: in ten minutes backend %d turned %d times between %.3f and %.3f", delay, i, n, low, high)
			}
		}
	}
}

// One that says what it likes has at most twice its configured share.
func TestLiarIsBounded(t *testing.T) {
	for name, lie := range map[string]Report{
		"idle":      {Rate: 100, Values: map[string]float64{"cpu": 0}},
		"very busy": {Rate: 1e12, Values: map[string]float64{"cpu": 1e-9}},
		"dead":      {Rate: 1e-9, Values: map[string]float64{"cpu": 1e12}},
	} {
		r := newRig(t, capacityLaw(), backends(10))
		honest := says("cpu", slices.Repeat([]float64{0.6}, 10)...)
		for range 120 {
			r.second(func(i int) (Report, bool) {
				if i < 2 {
					return lie, true
				}
				return honest(i)
			})
			var sum float64
			for _, w := range r.pool.Weights() {
				sum += float64(w)
			}
			for i, w := range r.pool.Weights() {
				if s := float64(w) / sum; s > 0.2*1.02 || s < 0.1*0.1*0.9 {
					t.Fatalf("%s: backend %d has %.3f of all: %v", name, i, s, r.pool.Weights())
				}
			}
		}
	}
}

// Random pools, reports, failures and operators: each step keeps its promises.
func TestStepsKeepTheirPromises(t *testing.T) {
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 7))
		s := capacityLaw()
		s.Mode = lb.ResourceMode(random.IntN(4))
		s.MaxMove = 0.02 + 0.08*random.Float64()
		s.HoldOff = time.Duration(random.IntN(4)) * time.Second
		s.SlowStart = time.Duration(random.IntN(2)*20) * time.Second
		all := backends(1+random.IntN(12), lb.RatioLimit("cpu", 0.8))
		for i := range all {
			all[i].Configured = lb.Weight(1 + random.IntN(10))
		}
		r := newRig(t, s, all)
		var lastMove time.Time
		for range 200 {
			disturb(random, r)
			before := make([]member, len(all))
			for i, m := range r.pool.members {
				before[i] = *m
			}
			res := r.second(func(i int) (Report, bool) { return anyReport(random), random.IntN(10) > 0 })
			checkPool(t, r.pool)
			moved := false
			for i, m := range r.pool.members {
				if d := m.soft - before[i].soft; d > 6 || d < -6 {
					t.Fatalf("seed %d: a step of %d/64", seed, d)
				} else if d != 0 {
					moved = true
				}
			}
			if moved && !lastMove.IsZero() && r.now.Sub(lastMove) < s.HoldOff {
				t.Fatalf("seed %d: moved %s after the last move", seed, r.now.Sub(lastMove))
			}
			if moved {
				lastMove = r.now
			}
			if res.Moved > s.MaxMove {
				t.Fatalf("seed %d: moved %.3f of the table", seed, res.Moved)
			}
			if total(r.pool.Weights()) == 0 && base(r.pool) > 0 {
				t.Fatalf("seed %d: nobody takes new flows", seed)
			}
		}
	}
}

func disturb(random *rand.Rand, r *rig) {
	i := random.IntN(len(r.pool.members))
	switch random.IntN(20) {
	case 0:
		r.pool.SetHealth(r.now, endpoint(i), Health{Up: random.IntN(2) == 0})
	case 1:
		r.pool.SetOverride(endpoint(i), &Override{Weight: lb.Weight(random.IntN(5)), Until: r.now.Add(9 * time.Second)})
	case 2:
		r.pool.SetOverride(endpoint(i), nil)
	}
	for i := range r.pool.members {
		r.pool.Traffic(r.now, endpoint(i), Traffic{Packets: uint64(random.IntN(1e6)), Flows: uint64(random.IntN(1e4)), Active: uint64(random.IntN(1e4))})
	}
}

func anyReport(random *rand.Rand) Report {
	values := map[string]float64{"cpu": []float64{random.Float64(), 0, 1, 0.81, 1e11}[random.IntN(5)]}
	return Report{Rate: []float64{0, 1, 1000 * random.Float64(), 1e12}[random.IntN(4)], Age: time.Duration(random.IntN(20)) * time.Second, Values: values}
}

func total(weights []lb.EffectiveWeight) (sum uint64) {
	for _, w := range weights {
		sum += uint64(w)
	}
	return sum
}

func base(p *Pool) (sum uint64) {
	for _, m := range p.members {
		sum += uint64(m.base)
	}
	return sum
}

func TestSameCallsSameWeights(t *testing.T) {
	run := func() (all []lb.EffectiveWeight) {
		random := rand.New(rand.NewPCG(3, 3))
		r := newRig(t, capacityLaw(), backends(6, lb.RatioLimit("cpu", 0.9)))
		for range 100 {
			r.second(func(int) (Report, bool) { return anyReport(random), true })
			all = append(all, r.pool.Weights()...)
		}
		return all
	}
	if !slices.Equal(run(), run()) {
		t.Error("two runs differ")
	}
}

func TestSettingsAreChecked(t *testing.T) {
	if err := capacityLaw().Check(); err != nil {
		t.Fatal(err)
	}
	for name, breaks := range map[string]func(*lb.Law){
		"min":             func(s *lb.Law) { s.Min = 0 },
		"max":             func(s *lb.Law) { s.Max = 3 },
		"step":            func(s *lb.Law) { s.Step = math.NaN() },
		"panic threshold": func(s *lb.Law) { s.Panic = 1.5 },
		"interval":        func(s *lb.Law) { s.Interval = 0 },
		"hold-off":        func(s *lb.Law) { s.HoldOff = -time.Second },
		"resource mode":   func(s *lb.Law) { s.Mode = 9 },
		"metric":          func(s *lb.Law) { s.Metric = "" },
	} {
		s := capacityLaw()
		breaks(&s)
		if _, err := NewPool(s, nil); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for _, m := range []lb.ResourceMode{lb.ModeStatic, lb.ModeCutoff, lb.ModeHeadroom, lb.ModeCapacity} {
		if got, err := lb.ParseResourceMode(m.String()); err != nil || got != m {
			t.Errorf("%s: %v, %v", m, got, err)
		}
	}
	if _, err := lb.ParseResourceMode("fast"); err == nil {
		t.Error("mode fast is accepted")
	}
}
