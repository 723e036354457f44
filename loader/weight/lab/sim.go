package lab

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"weir/loader/weight"
)

// flow is a client's connection. The flow table keeps it where it began.
type flow struct {
	hash   uint64
	node   int32
	server int32
	left   int32 // requests
	stored bool  // in the flow table
}

// mail is a report on its way.
type mail struct {
	server int
	report weight.Report
}

// sim is one run.
type sim struct {
	Scenario
	algorithm Algorithm
	now       int64
	queue     queue
	servers   []server
	agents    []agent
	nodes     []*node
	flows     []flow
	unused    []int32
	mails     []mail
	meter     *meter
	capacity  float64 // requests per second of all cores

	// Streams of their own, so that what one algorithm draws does not change
	// what another one meets.
	arrivals, services, lies *rand.Rand
}

// epoch is when the law's clock starts.
var epoch = time.Unix(1_000_000_000, 0) // never changed

// Run is one scenario under one algorithm. Equal seeds give equal results.
func Run(sc Scenario, a Algorithm, seed uint64) (Result, error) {
	s, err := newSim(sc, a, seed)
	if err != nil {
		return Result{}, fmt.Errorf("simulating %s with %s: %w", sc.Name, a.Name, err)
	}
	for {
		e := s.queue.pop()
		if e.at > int64(sc.Duration) {
			return s.result(), nil
		}
		s.now = e.at
		if err := s.happen(e); err != nil {
			return Result{}, fmt.Errorf("simulating %s with %s at %s: %w", sc.Name, a.Name, time.Duration(s.now), err)
		}
	}
}

func newSim(sc Scenario, a Algorithm, seed uint64) (*sim, error) {
	s := &sim{
		Scenario: sc, algorithm: a,
		arrivals: stream(seed, 1), services: stream(seed, 2), lies: stream(seed, 3),
		agents: make([]agent, len(sc.Servers)), meter: newMeter(sc, a),
	}
	for i, b := range sc.Servers {
		s.servers = append(s.servers, server{Server: b})
		s.agents[i].lie = b.Lie
		s.capacity += float64(b.Cores) / serviceMean.Seconds()
		s.at(time.Duration(i)*agentInterval/time.Duration(len(sc.Servers)), event{kind: sample, who: int32(i)})
		s.schedule(b, int32(i))
	}
	for i := range sc.Nodes {
		n, err := newNode(a, sc)
		if err != nil {
			return nil, err
		}
		s.nodes = append(s.nodes, n)
		s.at(time.Second/2+time.Duration(i)*time.Second/time.Duration(sc.Nodes), event{kind: tick, who: int32(i)})
	}
	s.at(0, event{kind: arrival})
	s.at(time.Second, event{kind: second})
	return s, nil
}

func stream(seed, n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }

func (s *sim) schedule(b Server, i int32) {
	if b.Change.Cores > 0 {
		s.at(b.Change.From, event{kind: change, who: i})
		s.at(b.Change.To, event{kind: change, who: i})
	}
	if b.Joins > 0 {
		s.at(b.Joins, event{kind: join, who: i})
	}
}

func (s *sim) at(t time.Duration, e event) {
	e.at = int64(t)
	s.queue.push(e)
}

func (s *sim) after(d time.Duration, e event) { s.at(time.Duration(s.now)+d, e) }

func (s *sim) clock() time.Time { return epoch.Add(time.Duration(s.now)) }

func (s *sim) disturbed() bool { return s.now >= int64(s.Disturbed) }

func (s *sim) happen(e event) error {
	switch e.kind {
	case arrival:
		s.arrive()
	case again:
		s.request(e.flow)
	case done:
		s.finish(e)
	case sample:
		s.look(int(e.who))
	case deliver:
		return s.deliver(int(e.flow))
	case tick:
		return s.tick(int(e.who))
	case second:
		s.meter.second(s)
		s.after(time.Second, event{kind: second})
	case change:
		s.change(int(e.who))
	case join:
		return s.join()
	}
	return nil
}

// arrive begins a flow and draws when the next one comes.
func (s *sim) arrive() {
	rate := s.Load(time.Duration(s.now)) * s.capacity / float64(s.Requests)
	s.after(time.Duration(s.arrivals.ExpFloat64()/rate*1e9), event{kind: arrival})
	hash := s.arrivals.Uint64()
	left := int32(1)
	if s.Requests > 1 {
		left += int32(s.arrivals.ExpFloat64() * float64(s.Requests-1))
	}
	n := int32(mix(hash) % uint64(len(s.nodes)))
	server := s.nodes[n].pick(hash)
	t := &s.nodes[n].traffic[server]
	t.Flows++
	t.Active++
	s.request(s.keep(flow{hash: hash, node: n, server: int32(server), left: left, stored: s.nodes[n].store(hash)}))
}

func (s *sim) keep(f flow) int32 {
	if n := len(s.unused); n > 0 {
		id := s.unused[n-1]
		s.unused = s.unused[:n-1]
		s.flows[id] = f
		return id
	}
	s.flows = append(s.flows, f)
	return int32(len(s.flows) - 1)
}

// request comes to the flow's server.
func (s *sim) request(id int32) {
	f := &s.flows[id]
	f.left--
	s.route(f)
	s.nodes[f.node].traffic[f.server].Packets++
	to := &s.servers[f.server]
	to.received++
	s.meter.offered(int(f.server))
	w := waiting{flow: id, began: s.now}
	switch {
	case to.free():
		s.serve(int(f.server), w)
	case !to.enqueue(w):
		s.meter.failed(s.now)
		s.next(id)
	}
}

// route sends a flow that the flow table has no room for where the table says
// now.
func (s *sim) route(f *flow) {
	n := s.nodes[f.node]
	if f.stored {
		return
	}
	if to := int32(n.byHash(f.hash)); to != f.server {
		n.traffic[f.server].Active--
		n.traffic[to].Active++
		n.broken++
		f.server = to
	}
}

func (s *sim) serve(i int, w waiting) {
	to := &s.servers[i]
	to.account(s.now)
	to.busy++
	takes := s.services.ExpFloat64() * to.cost() * float64(serviceMean)
	s.after(time.Duration(takes), event{kind: done, who: int32(i), flow: w.flow, began: w.began})
}

func (s *sim) finish(e event) {
	from := &s.servers[e.who]
	from.account(s.now)
	from.busy--
	from.served++
	s.meter.served(s.now, s.now-e.began)
	s.pull(int(e.who))
	s.next(e.flow)
}

// pull serves who waits while cores are free.
func (s *sim) pull(i int) {
	for s.servers[i].free() {
		w, ok := s.servers[i].dequeue()
		if !ok {
			return
		}
		s.serve(i, w)
	}
}

// next is what a client does after an answer.
func (s *sim) next(id int32) {
	f := &s.flows[id]
	if f.left > 0 {
		s.after(time.Duration(s.services.ExpFloat64()*float64(s.Think)), event{kind: again, flow: id})
		return
	}
	s.nodes[f.node].forget(f)
	f.node = -1
	s.unused = append(s.unused, id)
}

func (s *sim) look(i int) {
	s.servers[i].account(s.now)
	r, speaks := s.agents[i].look(&s.servers[i], s.lies, s.disturbed())
	s.after(agentInterval, event{kind: sample, who: int32(i)})
	if !speaks || s.servers[i].Joins > time.Duration(s.now) {
		return
	}
	r.Age = s.Delay
	s.mails = append(s.mails, mail{i, r})
	s.after(s.Delay, event{kind: deliver, flow: int32(len(s.mails) - 1)})
}

func (s *sim) deliver(i int) error {
	for _, n := range s.nodes {
		if err := n.report(s.clock(), s.mails[i].server, s.mails[i].report); err != nil {
			return err
		}
	}
	return nil
}

func (s *sim) tick(i int) error {
	n := s.nodes[i]
	s.after(time.Second, event{kind: tick, who: int32(i)})
	before := n.table
	changed, err := n.step(s.clock())
	if err != nil || !changed {
		return err
	}
	s.countMoved(n, int32(i), before)
	return nil
}

// countMoved counts the live flows that another table would give to another
// server, did the flow table not keep them.
func (s *sim) countMoved(n *node, i int32, before []uint32) {
	if n.algorithm.Pick != ByHash || len(before) != len(n.table) {
		return
	}
	size := uint64(len(before))
	for k := range s.flows {
		if f := &s.flows[k]; f.node == i {
			if at := (f.hash >> 32) * size >> 32; before[at] != n.table[at] {
				n.flows++
			}
		}
	}
}

func (s *sim) change(i int) {
	to := &s.servers[i]
	to.account(s.now)
	if to.taken == 0 {
		to.taken = to.Change.Cores
	} else {
		to.taken = 0
	}
	s.pull(i)
}

func (s *sim) join() error {
	for _, n := range s.nodes {
		var err error
		if n.pool, err = n.pool.With(s.clock(), n.settings, n.backends(s.Scenario, time.Duration(s.now))); err != nil {
			return err
		}
		n.pool.Step(s.clock())
		if err := n.rebuild(); err != nil {
			return err
		}
	}
	return nil
}

// perHour scales a count of the whole run.
func (s *sim) perHour(n uint64) float64 {
	return math.Round(float64(n) * float64(time.Hour) / float64(s.Duration))
}
