package dataplane

import (
	"sync/atomic"
	"testing"

	"weir/loader/lb"
)

// A loader killed at the wrong moment leaves a count one too high: idle sweeps
// mend it, those during which flows come and go do not.
func TestAuditMendsTheCountOfABackendAtRest(t *testing.T) {
	d := openTest(t, Options{Config: testConfig(t)})
	if err := d.Apply(stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:80")); err != nil {
		t.Fatal(err)
	}
	run(t, d, syn(client, web))
	const id = 1
	atomic.AddUint64(&d.mem.active[id], 1)
	sweep := func(during uint64) uint64 {
		pass, err := d.beginSweep()
		if err != nil {
			t.Fatal(err)
		}
		found := pass.scan()
		d.mem.stats[id].Flows += during
		d.audit(found)
		return atomic.LoadUint64(&d.mem.active[id])
	}
	for i := range 3 * auditSweeps {
		if got := sweep(1); got != 2 {
			t.Fatalf("sweep %d mended the count to %d while flows came", i, got)
		}
	}
	for range auditSweeps - 1 {
		if got := sweep(0); got != 2 {
			t.Fatalf("the count was mended to %d too early", got)
		}
	}
	if got := sweep(0); got != 1 {
		t.Errorf("active is %d, want 1", got)
	}
}
