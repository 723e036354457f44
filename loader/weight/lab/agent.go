package lab

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"weir/loader/weight"
)

const (
	agentInterval = time.Second
	agentTau      = 2 * time.Second
)

// agent looks at its server once in an interval and says what it sees,
// smoothed.
type agent struct {
	lie      Lie
	seq      uint64
	area     float64
	received uint64
	cpu      float64
	rate     float64
}

func (a *agent) look(s *server, random *rand.Rand, disturbed bool) (weight.Report, bool) {
	cpu := (s.area - a.area) / (float64(s.Cores) * float64(agentInterval))
	rate := float64(s.received-a.received) / agentInterval.Seconds()
	a.area, a.received = s.area, s.received
	gain := -math.Expm1(-agentInterval.Seconds() / agentTau.Seconds())
	if a.seq++; a.seq == 1 {
		gain = 1
	}
	if a.lie != Frozen || !disturbed {
		a.cpu += gain * (cpu - a.cpu)
	}
	a.rate += gain * (rate - a.rate)
	said := a.cpu
	if disturbed {
		said = a.lie.about(a.cpu, random)
	}
	return weight.Report{
		Boot: "1", Seq: a.seq, Tau: agentTau, Rate: a.rate,
		Values: map[string]float64{"cpu": min(said, 1)},
	}, a.lie != Silence || !disturbed
}

func (l Lie) about(cpu float64, random *rand.Rand) float64 {
	switch l {
	case Idle:
		return 0.02
	case Third:
		return cpu / 3
	case Busy:
		return 1
	case Noise:
		return random.Float64()
	}
	return cpu
}

func (l Lie) String() string {
	names := [...]string{"honest", "idle", "third", "busy", "noise", "frozen", "silence"}
	if int(l) < len(names) {
		return names[l]
	}
	return strconv.Itoa(int(l))
}
