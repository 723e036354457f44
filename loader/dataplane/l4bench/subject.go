package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"weir/loader/dataplane"
	"weir/loader/lb"
	"weir/loader/table"
)

const flowsLimit = 1_000_000

// subject is the data plane with one service, ready to be measured.
type subject struct {
	forward   lb.Forward
	family    int
	algorithm lb.Algorithm
	backends  int
	plane     *dataplane.DataPlane
	pins      string
}

// open opens a data plane of its own with one service. All backends are next
// to the veth, so the answer is XDP_TX as for the baseline.
func (s *subject) open(l *lab, number int) (err error) {
	s.pins = fmt.Sprintf("%s%d_%d", pinPrefix, os.Getpid(), number)
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

// populate establishes the flows in the flow table.
func (s *subject) populate(l *lab, flows int) error {
	for _, flags := range []byte{tcpSYN, tcpACK} {
		plan := newPlan(s.vip(), orderEach, flows, flags)
		if _, err := l.run(s.plane.Program(), plan, uint32(flows)); err != nil {
			return fmt.Errorf("establish %d flows: %w", flows, err)
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

// mapBytes is the memory of the maps, as the kernel counts it.
func (s *subject) mapBytes() (sum uint64) {
	for _, m := range s.plane.Info().Maps {
		sum += m.Bytes
	}
	return sum
}
