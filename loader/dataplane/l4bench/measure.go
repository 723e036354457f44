package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"

	"weir/bpf/bench"
	"weir/loader/dataplane"
	"weir/loader/lb"
	"weir/loader/table"
)

const (
	rounds     = 3
	warmup     = 200_000
	perRun     = 1_000_000
	backends   = 100
	orderRand  = 0 // enum order
	orderEach  = 1
	orderNew   = 2
	flowsLimit = 1_000_000
)

var flowCounts = []int{1, 1_000, 100_000, 1_000_000}

// subject is the data plane with one service, ready to be measured.
type subject struct {
	forward   lb.Forward
	family    int
	algorithm lb.Algorithm
	backends  int
	plane     *dataplane.DataPlane
	pins      string
}

func measureAll(l *lab, report func(line) error) error {
	family := 4
	if os.Getenv("FAMILY") == "6" {
		family = 6
	}
	names := cmp.Or(os.Getenv("FORWARD"), "dsr,nat")
	all := names == "all"
	if all {
		names = "dsr,nat,ipip,gue,snat"
	}
	for name := range strings.SplitSeq(names, ",") {
		forward, err := lb.ParseForward(name)
		if err == nil {
			err = measureSubject(l, subject{forward: forward, family: family, algorithm: lb.Maglev}, report)
		}
		if err == nil && all && forward == lb.DSR {
			err = measureLeastConn(l, subject{forward: forward, family: family, algorithm: lb.LeastConn}, report)
		}
		if err != nil {
			return fmt.Errorf("%s over IPv%d: %w", name, family, err)
		}
	}
	return nil
}

// measureLeastConn measures new flows into pools of which every backend is
// compared, and into larger ones.
func measureLeastConn(l *lab, s subject, report func(line) error) error {
	for _, s.backends = range []int{table.LeastExact, 100} {
		if err := measureNew(l, s, fmt.Sprintf("syn_least_conn_%d", s.backends), report); err != nil {
			return err
		}
	}
	return nil
}

func measureNew(l *lab, s subject, name string, report func(line) error) (err error) {
	if err := s.open(l); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	result, err := s.measure(l, "syn", flowCounts[len(flowCounts)-1])
	if err != nil {
		return err
	}
	result.Case = name
	return report(result)
}

func measureSubject(l *lab, s subject, report func(line) error) (err error) {
	s.backends = backends
	if err := s.open(l); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, flows := range flowCounts {
		result, err := s.measure(l, "established", flows)
		if err == nil {
			err = report(result)
		}
		if err != nil {
			return err
		}
	}
	result, err := s.measure(l, "syn", flowCounts[len(flowCounts)-1])
	if err != nil {
		return err
	}
	return report(result)
}

// open opens a data plane of its own with one service. All backends are next
// to the veth, so the answer is XDP_TX as for the baseline.
func (s *subject) open(l *lab) (err error) {
	s.pins = fmt.Sprintf("/sys/fs/bpf/weir-bench-%d", os.Getpid())
	s.plane, err = dataplane.Open(dataplane.Options{Config: lb.Config{
		PinDir:   s.pins,
		Limits:   lb.Limits{Services: 1024, Backends: 4096, Flows: flowsLimit, TableEntries: 1 << 20},
		Timeouts: lb.Timeouts{Embryonic: time.Hour, Established: time.Hour, Closing: time.Hour, UDP: time.Hour},
		Tunnel:   lb.Tunnel{GUEPort: 6080, Source4: netip.MustParsePrefix("172.16.0.0/16"), Source6: netip.MustParsePrefix("100::/64")},
		SNAT:     s.sources(),
	}})
	if err != nil {
		return err
	}
	state, err := s.state(l)
	if err == nil {
		err = s.plane.Apply(state)
	}
	if err != nil {
		return errors.Join(err, s.close())
	}
	return nil
}

// sources gives snat twice the pairs of the most flows.
func (s *subject) sources() (out lb.SNATSources) {
	if s.forward != lb.SNAT {
		return out
	}
	addr4, addr6 := netip.MustParseAddr("172.17.0.1"), netip.MustParseAddr("fd01::1")
	for range lb.MaxSNATSources {
		if s.family == 4 {
			out.Source4 = append(out.Source4, addr4)
		} else {
			out.Source6 = append(out.Source6, addr6)
		}
		addr4, addr6 = addr4.Next(), addr6.Next()
	}
	return out
}

func (s *subject) close() error {
	err := s.plane.Close()
	_, unloadErr := dataplane.Unload(s.pins, false)
	return errors.Join(err, unloadErr)
}

func (s *subject) state(l *lab) (lb.State, error) {
	service := lb.ServiceState{Service: lb.Service{Name: "bench", VIP: s.vip(), Forward: s.forward, Pool: "bench"}}
	hop := lb.NextHop{IfIndex: l.ifindex, SrcMAC: [6]byte{2, 0, 0, 0, 0, 1}, DstMAC: [6]byte{2, 0, 0, 0, 0, 2}, MTU: 1500}
	var entries []table.Entry
	first := netip.MustParseAddr("172.16.0.1")
	if s.family == 6 {
		first = netip.MustParseAddr("fd00::1")
	}
	for addr := first; len(entries) < s.backends; addr = addr.Next() {
		endpoint := netip.AddrPortFrom(addr, s.vip().Port)
		service.Backends = append(service.Backends, lb.BackendState{Endpoint: endpoint, Effective: lb.EffectiveUnit, Hop: hop})
		entries = append(entries, table.Entry{ID: endpoint.String(), Weight: lb.EffectiveUnit})
	}
	built, err := table.Build(s.algorithm, entries, 65537, 0)
	return lb.State{Services: []lb.ServiceState{service}, Tables: []lb.Table{built}}, err
}

func (s *subject) vip() lb.VIP {
	addr := netip.MustParseAddr("192.0.2.1")
	if s.family == 6 {
		addr = netip.MustParseAddr("2001:db8::1")
	}
	return lb.VIP{Addr: addr, Port: 80, Proto: lb.TCP}
}

// measure runs the baseline, the yardstick and weir in turn, several rounds.
func (s *subject) measure(l *lab, what string, flows int) (line, error) {
	if err := s.populate(l, flows); err != nil {
		return line{}, err
	}
	plan := newPlan(s.vip(), orderRand, flows, tcpACK)
	if what == "syn" {
		plan = newPlan(s.vip(), orderNew, flows, tcpSYN)
	}
	var net, yardstick, ratio []float64
	for range rounds {
		cost := map[*ebpf.Program]float64{}
		for _, p := range []*ebpf.Program{l.objects.Answer, l.objects.Yardstick, s.plane.Program()} {
			ns, err := l.steady(p, &plan)
			if err != nil {
				return line{}, err
			}
			cost[p] = ns
		}
		base := cost[l.objects.Answer]
		net = append(net, cost[s.plane.Program()]-base)
		yardstick = append(yardstick, cost[l.objects.Yardstick]-base)
		ratio = append(ratio, net[len(net)-1]/yardstick[len(yardstick)-1])
	}
	result := line{
		Case: what, Forward: s.forward.String(), Flows: flows,
		NetNS: median(net), YardstickNS: median(yardstick), Ratio: median(ratio),
	}
	if s.family == 6 {
		result.Family = 6
	}
	return result, nil
}

// steady warms caches up and then measures. Plans of new flows go on where the
// last run ended.
func (l *lab) steady(p *ebpf.Program, plan *bench.BenchPlan) (float64, error) {
	if _, err := l.run(p, *plan, warmup); err != nil {
		return 0, err
	}
	plan.Next += warmup
	ns, err := l.run(p, *plan, perRun)
	plan.Next += perRun
	return ns, err
}

// populate establishes the flows in weir's table and enters them in the LRU.
func (s *subject) populate(l *lab, flows int) error {
	for _, step := range []struct {
		program *ebpf.Program
		flags   byte
	}{{s.plane.Program(), tcpSYN}, {s.plane.Program(), tcpACK}, {l.objects.Fill, tcpACK}} {
		plan := newPlan(s.vip(), orderEach, flows, step.flags)
		if _, err := l.run(step.program, plan, uint32(flows)); err != nil {
			return fmt.Errorf("enter %d flows: %w", flows, err)
		}
	}
	return s.check(flows)
}

// check makes sure that the flows are there: a benchmark of a table that is
// empty would be fast.
func (s *subject) check(flows int) error {
	counters, err := s.plane.Counters()
	if err != nil {
		return err
	}
	var active uint64
	for _, b := range counters.Backends {
		active += b.Active
	}
	if active < uint64(flows)*99/100 {
		return fmt.Errorf("only %d of %d flows are in the table", active, flows)
	}
	return nil
}
