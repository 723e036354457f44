package dataplane

import (
	"net/netip"
	"testing"

	"weir/loader/lb"
)

// A backend that comes back and is retired again while a Sweep looks at the
// tables may have got a flow where the Sweep had looked already.
func TestSweepKeepsABackendThatWasBackMeanwhile(t *testing.T) {
	const vip = "192.0.2.1:80/tcp"
	a, b := "10.0.0.1:80", "10.0.0.2:80"
	d := openTest(t, Options{Config: testConfig(t)})
	apply := func(endpoints ...string) {
		t.Helper()
		if err := d.Apply(stateOf(t, vip, lb.DSR, lb.RoundRobin, endpoints...)); err != nil {
			t.Fatal(err)
		}
	}
	apply(a)
	apply(b) // a is retired
	pass, err := d.beginSweep()
	if err != nil {
		t.Fatal(err)
	}
	found := pass.scan()
	apply(a)
	run(t, d, syn(client, web))
	apply(b)
	if err := d.endSweep(found); err != nil {
		t.Fatal(err)
	}
	f, stored, err := d.FindFlow(lb.FlowKey{Src: client, Dst: web, Proto: lb.TCP})
	if err != nil || !stored || f.Endpoint != netip.MustParseAddrPort(a) {
		t.Errorf("the flow is of %v (stored %t, %v), want %s", f.Endpoint, stored, err, a)
	}

	for i := range d.mem.flows {
		d.mem.flows[i].Word = [flowSlots]uint64{}
	}
	if _, err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
	if counters, err := d.Counters(); err != nil || len(counters.Backends) != 1 {
		t.Errorf("without its flow the backend is still there: %+v (%v)", counters.Backends, err)
	}
}
