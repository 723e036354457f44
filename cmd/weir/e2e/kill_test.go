package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

func TestKill(t *testing.T) {
	for _, p := range []plan{{forward: lb.NAT}, {forward: lb.DSR, family: 6, algorithm: "wrr"}} {
		t.Run(p.String(), func(t *testing.T) { testKill(t, p) })
	}
}

func testKill(t *testing.T, p plan) {
	l := start(t, p)
	x := l.servers[0]
	weir(t, "backend", "set", ref(x), "--weight", "5")
	weir(t, "backend", "drain", ref(l.servers[2]))
	d := l.load(t, everything())
	d.more(t, 1000)
	before, counted := status(t), backends(t)

	l.daemon.end(t, syscall.SIGKILL)
	alone := d.requests.Load()
	<-time.After(either(20*time.Second, 5*time.Second)) // without a daemon
	d.unfailed(t, "without a daemon")
	t.Logf("%d requests without a daemon, 0 failed", d.requests.Load()-alone)

	l.run(t)
	d.more(t, 1000)
	after := status(t)
	checkSameKernel(t, before.DataPlane, after.DataPlane)
	checkMonotone(t, counted, backends(t))
	checkOverrides(t, map[string]string{x.name(): "weight 5", l.servers[2].name(): "drain"})
	d.finish(t, "killed and started again")
	l.awaitNoFlows(t)
	l.checkCounts(t)
}

// checkSameKernel: what was pinned was taken over.
func checkSameKernel(t *testing.T, before, after lb.DataPlaneInfo) {
	t.Helper()
	if before.Adopted || !after.Adopted {
		t.Errorf("adopted: %t at first, %t after the restart, want false and true", before.Adopted, after.Adopted)
	}
	if a, b := before.Attachments[0].LinkID, after.Attachments[0].LinkID; a != b || a == 0 {
		t.Errorf("link id %d became %d", a, b)
	}
	if !slices.Equal(before.Maps, after.Maps) || len(after.Maps) == 0 {
		t.Errorf("maps %v became %v", before.Maps, after.Maps)
	}
}

func checkMonotone(t *testing.T, before, after []wire.Backend) {
	t.Helper()
	for i, b := range before {
		a := after[i]
		if a.Backend != b.Backend || a.Flows < b.Flows || a.Packets < b.Packets || a.Bytes < b.Bytes {
			t.Errorf("backend %s had %+v, now %s has %+v", b.Backend, b.Traffic, a.Backend, a.Traffic)
		}
	}
}

// checkOverrides compares with those by backend; the others have none.
func checkOverrides(t *testing.T, want map[string]string) {
	t.Helper()
	for _, b := range backends(t) {
		if b.Override != want[b.Backend.String()] {
			t.Errorf("backend %s has override %q, want %q", b.Backend, b.Override, want[b.Backend.String()])
		}
	}
}

func TestRestarts(t *testing.T) {
	l := start(t, plan{weights: []lb.Weight{1, 1, 1, 1}})
	weir(t, "backend", "set", ref(l.servers[0]), "--weight", "2")
	d := l.load(t, everything())
	first := status(t)
	for i := range either(50, 6) {
		l.restart(t, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[i%2])
		d.unfailed(t, fmt.Sprintf("restart %d", i+1))
	}
	checkSameKernel(t, first.DataPlane, status(t).DataPlane)
	checkOverrides(t, map[string]string{l.servers[0].name(): "weight 2"})
	d.finish(t, "restarts")
	l.awaitNoFlows(t)
	l.checkCounts(t)
}

func TestReloads(t *testing.T) {
	for _, p := range []plan{
		{forward: lb.NAT, weights: []lb.Weight{1, 1, 1, 1}},
		{forward: lb.DSR, family: 6, algorithm: "wrr", weights: []lb.Weight{1, 1, 1, 1}},
	} {
		t.Run(p.String(), func(t *testing.T) { testReloads(t, p) })
	}
}

func testReloads(t *testing.T, p plan) {
	l := start(t, p)
	d := l.load(t, everything())
	first := status(t).DataPlane
	for i := range either(50, 10) {
		c := l.variant(i)
		l.write(t, c)
		l.daemon.signal(t, syscall.SIGHUP)
		l.awaitReload(t, i+1)
		d.more(t, 50)
		d.unfailed(t, fmt.Sprintf("reload %d", i+1))
		checkListed(t, c)
	}
	if again := status(t).DataPlane; again.Attachments[0].LinkID != first.Attachments[0].LinkID || !slices.Equal(again.Maps, first.Maps) {
		t.Errorf("reloads changed the link or the maps: %+v became %+v", first, again)
	}
	d.finish(t, "reloads")
	l.awaitNoFlows(t)
	if s := status(t); s.Totals.Dropped > 0 || s.Totals.Unstored > 0 {
		t.Errorf("%d packets were dropped, %d not stored: %+v", s.Totals.Dropped, s.Totals.Unstored, s.Reasons)
	}
}

// variant is one of four configurations: all backends, without the first,
// without the last, and with other weights.
func (l *lab) variant(i int) configuration {
	c := l.config
	c.backends = slices.Clone(c.backends)
	switch i % 4 {
	case 0:
		c.backends = c.backends[1:]
	case 1:
		c.backends[1].Weight, c.backends[2].Weight = 7, 0
	case 2:
		c.backends = c.backends[:len(c.backends)-1]
	}
	return c
}

func (l *lab) awaitReload(t *testing.T, n int) {
	t.Helper()
	eventually(t, 10*time.Second, fmt.Sprintf("reload %d", n), func() error {
		if got := metric(t, "weir_config_reloads_total", map[string]string{"result": "loaded"}); got != float64(n) {
			return fmt.Errorf("%g configurations loaded", got)
		}
		return nil
	})
}

// checkListed: what is not retired is what is configured.
func checkListed(t *testing.T, c configuration) {
	t.Helper()
	weights := map[string]lb.Weight{}
	for _, b := range backends(t) {
		if b.State != wire.StateRetired {
			weights[b.Backend.String()] = b.Weight
		}
	}
	for _, b := range c.backends {
		if w, ok := weights[b.Endpoint().String()]; !ok || w != b.Weight {
			t.Errorf("backend %s has weight %d (listed: %t), want %d", b.Endpoint(), w, ok, b.Weight)
		}
	}
	if len(weights) != len(c.backends) {
		t.Errorf("%d backends listed, want %d", len(weights), len(c.backends))
	}
}

// atWork fails if requests through the VIP do.
func (l *lab) atWork(t *testing.T, when string) {
	t.Helper()
	for range 20 {
		if _, err := l.askOnce(t.Context()); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
}
