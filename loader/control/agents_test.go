package control_test

import (
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/agent/report"
	"weir/loader/agents"
	"weir/loader/control"
	"weir/loader/lb"
	"weir/loader/weight"
)

// listener is a set of agents whose reports the test makes.
type listener struct {
	mu      sync.Mutex
	watched []agents.Target
	refuses error
	heard   chan agents.Heard
	seq     uint64
}

func newListener() *listener { return &listener{heard: make(chan agents.Heard)} }

func (l *listener) Watch(targets []agents.Target) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuses != nil {
		return l.refuses
	}
	l.watched = targets
	return nil
}

func (l *listener) Heard() <-chan agents.Heard { return l.heard }

func (l *listener) Status(k agents.Key) (agents.Status, bool) {
	return agents.Status{Protocol: lb.AgentWeir}, k.Pool == "web"
}

func (l *listener) Counts() agents.Counts {
	return agents.Counts{Reports: 5, Failures: map[agents.Reason]uint64{agents.ReasonTLS: 2, report.Negative: 1}}
}

func (l *listener) say(r *rig, t *testing.T, k agents.Key, values map[string]float64, change func(*weight.Report)) {
	t.Helper()
	l.seq++
	said := weight.Report{Seq: l.seq, Rate: 100, Values: values}
	if change != nil {
		change(&said)
	}
	select {
	case l.heard <- agents.Heard{Key: k, At: time.Now(), Report: said}:
	case <-r.ctx.Done():
		t.Fatal("nobody listens")
	}
}

var (
	agent1 = agents.Key{Pool: "web", Endpoint: ep1}
	agent2 = agents.Key{Pool: "web", Endpoint: ep2}
)

// startFollowing starts with a pool of two equal backends that are cut off over
// 80 % of CPU.
func startFollowing(t *testing.T) (*rig, *listener) {
	t.Helper()
	cfg := config(t)
	p := &cfg.Pools[0]
	p.Law, p.Agent = lb.DefaultLaw(), lb.Agent{Protocol: lb.AgentWeir, Port: 9707}
	p.Law.Mode, p.Law.HoldOff, p.Law.MaxMove, p.Law.Step = lb.ModeCutoff, 0, 1, 1
	p.Backends[1].Weight = 1
	for i := range p.Backends {
		p.Backends[i].Limits = []lb.Limit{lb.RatioLimit("cpu", 0.8)}
	}
	l := newListener()
	return start(t, control.Options{Config: cfg, Agents: l, StepEvery: 10 * time.Millisecond}), l
}

func TestReportsCutOff(t *testing.T) {
	r, l := startFollowing(t)
	s := r.Subscribe()
	defer s.Close()
	if len(l.watched) != 2 {
		t.Errorf("watched %v", l.watched)
	}
	for range 3 {
		l.say(r, t, agent1, map[string]float64{"cpu": 0.95}, nil)
	}
	r.awaitWeights(t, 0, 64)
	if e := event(t, r, s, control.KindBackend); e.Reason != string(weight.CutOff) || e.Backend != ep1.String() ||
		!strings.Contains(e.Message, "backend web/10.0.0.11:80: cut off") {
		t.Errorf("event %+v", e)
	}
	p, err := r.ExplainBackend(r.ctx, ref1)
	if err != nil || !strings.Contains(p.Backends[0].Parts[3].Why, "cpu is 0.95, the limit 0.8") {
		t.Errorf("explained as %+v, %v", p, err)
	}
}

func TestAgentDrainsItsBackend(t *testing.T) {
	r, l := startFollowing(t)
	l.say(r, t, agent1, nil, func(w *weight.Report) { w.Out = "drain" })
	r.awaitWeights(t, 0, 64)
	l.say(r, t, agent1, nil, nil)
	r.awaitWeights(t, 64, 64)
}

// What is not believed is counted and moves nothing.
func TestReportsRefused(t *testing.T) {
	r, l := startFollowing(t)
	l.say(r, t, agent2, map[string]float64{"cpu": 0.1}, nil)
	for range 3 {
		l.say(r, t, agent2, map[string]float64{"cpu": 1}, func(w *weight.Report) { w.Seq = 1 })
		l.say(r, t, agent2, map[string]float64{"cpu": -1}, nil)
		l.say(r, t, agent2, map[string]float64{"cpu": 1}, func(w *weight.Report) { w.Age = 24 * time.Hour })
		l.say(r, t, agents.Key{Pool: "gone", Endpoint: ep1}, map[string]float64{"cpu": 1}, nil)
	}
	want := map[agents.Reason]uint64{agents.ReasonTLS: 2, report.Negative: 4, "replayed": 3, "too_old": 3}
	r.await(t, func() bool { return r.Stats().ReportsRefused[weight.TooOld] == 3 })
	if got := r.AgentCounts(); got.Reports != 5 || !maps.Equal(got.Failures, want) {
		t.Errorf("counts %+v, want %v", got, want)
	}
	if got := r.weights("web"); got[ep1] != 64 || got[ep2] != 64 {
		t.Errorf("weights %v", got)
	}
}

func TestReloadWithAgentsThatAreRefused(t *testing.T) {
	r, l := startFollowing(t)
	l.mu.Lock()
	l.refuses = errors.New("certificate and key: no")
	l.mu.Unlock()
	next := r.Snapshot().Config
	next.Pools = next.Pools[:1]
	next.Services = next.Services[:2]
	if err := r.Reload(r.ctx, next); !errors.Is(err, control.ErrInvalid) || !strings.Contains(err.Error(), "certificate and key") {
		t.Errorf("error %v", err)
	}
	if len(r.Snapshot().Config.Pools) != 2 {
		t.Error("the configuration was taken")
	}
}

// Checks that are refused leave the agents of before.
func TestReloadUndoesAgents(t *testing.T) {
	l, h := newListener(), newChecker()
	r := start(t, control.Options{Config: config(t), Agents: l, Health: h})
	h.mu.Lock()
	h.refuses = errors.New("bad expression")
	h.mu.Unlock()
	next := r.Snapshot().Config
	next.Pools = append([]lb.Pool{}, next.Pools...)
	next.Pools[0].Agent = lb.Agent{Protocol: lb.AgentHAProxy, Port: 1}
	if err := r.Reload(r.ctx, next); err == nil {
		t.Fatal("accepted")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.watched) != 0 {
		t.Errorf("watched %v", l.watched)
	}
}
