package e2e

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

func TestCounts(t *testing.T) {
	for _, p := range []plan{
		{forward: lb.NAT, algorithm: "rr"},
		{forward: lb.DSR, family: 6, weights: []lb.Weight{3, 2, 1}},
	} {
		t.Run(p.String(), func(t *testing.T) { testCounts(t, p) })
	}
}

func testCounts(t *testing.T, p plan) {
	l := start(t, p)
	d := l.load(t, mix{oneShot: 4, keepAlive: 2, held: 5})
	d.more(t, 2000)
	if active := status(t).Totals.Active; active < 5 {
		t.Errorf("%d active flows under load with 5 connections held", active)
	}
	d.finish(t, "counted load")
	l.awaitNoFlows(t)
	l.checkCounts(t)
}

// awaitNoFlows waits for the last FINs.
func (l *lab) awaitNoFlows(t *testing.T) {
	t.Helper()
	eventually(t, 5*time.Second, "no active flows", func() error {
		if n := status(t).Totals.Active; n > 0 {
			return fmt.Errorf("%d active flows", n)
		}
		return nil
	})
}

// checkCounts compares what the daemon says in three ways with what the
// backends counted.
func (l *lab) checkCounts(t *testing.T) {
	t.Helper()
	listed := map[netip.AddrPort]wire.Backend{}
	for _, b := range backends(t) {
		listed[b.Backend] = b
	}
	var packets uint64
	for _, s := range l.servers {
		want, b := s.accepted.Load(), listed[s.endpoint]
		labels := map[string]string{"service": service, "pool": poolName, "backend": s.name(), "vip": l.config.vip.String()}
		measured := metric(t, "weir_backend_flows_total", labels)
		if b.Flows != want || measured != float64(want) {
			t.Errorf("backend %s accepted %d connections; backend list says %d flows, metrics %g", s.name(), want, b.Flows, measured)
		}
		if b.Unstored != 0 {
			t.Errorf("%d packets to backend %s found no room in the flow table: its counts cannot agree", b.Unstored, s.name())
		}
		if b.Active != 0 || metric(t, "weir_backend_active_flows", labels) != 0 {
			t.Errorf("backend %s has %d active flows in the list, %g in metrics, want 0", s.name(), b.Active, metric(t, "weir_backend_active_flows", labels))
		}
		if b.Packets < 3*want || metric(t, "weir_backend_packets_total", labels) != float64(b.Packets) {
			t.Errorf("backend %s: %d packets for %d connections, metrics say %g", s.name(), b.Packets, want, metric(t, "weir_backend_packets_total", labels))
		}
		packets += b.Packets
	}
	totals := status(t).Totals
	if totals.Flows != l.accepted() || totals.Active != 0 || totals.Packets != packets {
		t.Errorf("status says %d flows, %d active, %d packets; want %d, 0, %d", totals.Flows, totals.Active, totals.Packets, l.accepted(), packets)
	}
	if totals.Dropped != 0 {
		t.Errorf("%d packets were dropped: %v", totals.Dropped, status(t).Reasons)
	}
	t.Logf("%v connections per backend, %d packets", l.perServer(), packets)
}
