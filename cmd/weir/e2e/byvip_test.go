package e2e

import (
	"net/netip"
	"os/exec"
	"testing"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

// Servers listen at the VIP only, so no probe of their own addresses could
// succeed: probes must travel as traffic does.
func TestProbesByVIP(t *testing.T) {
	for _, p := range []plan{
		{forward: lb.DSR}, {forward: lb.DSR, family: 6}, {forward: lb.IPIP}, {forward: lb.GUE}, {forward: lb.GUE, family: 6},
	} {
		t.Run(p.String(), func(t *testing.T) { testProbesByVIP(t, p) })
	}
}

func testProbesByVIP(t *testing.T, p plan) {
	l := newLab(t, p)
	l.config.health = "{type: tcp, interval: 500ms, rise: 1, fall: 2}"
	l.write(t, l.config)
	l.run(t)
	awaitStates(t, wire.StateReady, wire.StateReady, wire.StateReady)
	if err := l.servers[0].kill(); err != nil {
		t.Fatal(err)
	}
	awaitStates(t, wire.StateDown, wire.StateReady, wire.StateReady)

	// A host without the VIP hears nothing of it.
	takeVIP := func(verb string) {
		vip := netip.PrefixFrom(l.VIP, l.VIP.BitLen())
		cmd := exec.Command("ip", "address", verb, vip.String(), "dev", "lo")
		if err := l.Backends[1].NS.Do(cmd.Run); err != nil {
			t.Fatalf("ip address %s %s: %v", verb, vip, err)
		}
	}
	takeVIP("del")
	awaitStates(t, wire.StateDown, wire.StateDown, wire.StateReady)
	takeVIP("add")
	awaitStates(t, wire.StateDown, wire.StateReady, wire.StateReady)
}
