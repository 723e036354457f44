package demo

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"weir/loader/lb"
	"weir/loader/netlab"
)

// Without a balancer, straight to one backend: the load itself fails nothing
// and agrees with the server's count.
func TestLoadStraightToABackend(t *testing.T) {
	needRoot(t)
	for _, family := range []int{4, 6} {
		t.Run(fmt.Sprint("IPv", family), func(t *testing.T) { straight(t, family) })
	}
}

func straight(t *testing.T, family int) {
	topo, err := netlab.New(netlab.Options{
		Prefix: fmt.Sprintf("weir-demotest%d", os.Getpid()), Backends: 1, Forward: lb.NAT, Family: family,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer topo.Close()
	s, err := newServer(topo.Backends[0], 8080, 1, topo.ClientAddrs)
	if err != nil {
		t.Fatal(err)
	}
	var serving group
	serving.run(s.serve)
	defer serving.wait()
	defer s.close()
	l := newLoad(topo, []*server{s})
	l.vip = netip.AddrPortFrom(topo.Backends[0].Addr, 8080)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := l.warm(ctx, func() bool { return s.accepted.Load() > 0 }); err != nil {
		t.Fatal(err)
	}
	before := s.accepted.Load()
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	if err := l.drive(short, phase{workers: 3, keepAlive: 50}); err != nil {
		t.Fatal(err)
	}
	if err := l.failure(); err != nil {
		t.Error(err)
	}
	requests, connections := l.requests.Load(), s.accepted.Load()-before
	t.Logf("%d requests on %d connections", requests, connections)
	// Worker 0 makes many requests per connection, the others one.
	if connections < 10 || requests < connections+49 {
		t.Errorf("%d requests on %d connections in 300 ms: too few", requests, connections)
	}
	if p := l.latency.read(); p.quantile(0.5) == 0 || p.quantile(0.5) > p.quantile(0.99) {
		t.Errorf("p50 %s, p99 %s", p.quantile(0.5), p.quantile(0.99))
	}
}

func TestWarmingGivesUp(t *testing.T) {
	needRoot(t)
	ns, err := netlab.CreateNS(fmt.Sprintf("weir-demotest%d-ns", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Delete()
	l := &load{ns: ns, sources: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, vip: netip.MustParseAddrPort("127.0.0.1:80")}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := l.warm(ctx, func() bool { return true }); err == nil {
		t.Error("warming succeeded without a server")
	}
}
