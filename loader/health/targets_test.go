package health

import (
	"fmt"
	"net/netip"
	"testing"

	"weir/loader/lb"
)

func TestTargets(t *testing.T) {
	addr := netip.MustParseAddr
	tcp, none, script := lb.Health{Type: lb.HealthTCP}, lb.Health{}, lb.Health{Type: lb.HealthExec}
	other := lb.Health{Type: lb.HealthTCP, Port: 99}
	c := lb.Config{
		Pools: []lb.Pool{
			{Name: "a", Health: tcp, Backends: []lb.Backend{
				{Addr: addr("10.0.0.1"), Port: 80}, {Addr: addr("10.0.0.2")}, {Addr: addr("10.0.0.3"), Health: &other},
				{Addr: addr("10.0.0.4"), Port: 80, Health: &none},
			}},
			{Name: "unused", Health: tcp, Backends: []lb.Backend{{Addr: addr("10.0.0.5")}, {Addr: addr("10.0.0.6"), Health: &script}}},
			{Name: "unchecked", Backends: []lb.Backend{{Addr: addr("10.0.0.7"), Port: 80}}},
		},
		Services: []lb.Service{
			{Pool: "a", VIP: lb.VIP{Addr: addr("192.0.2.1"), Port: 0}},
			{Pool: "a", VIP: lb.VIP{Addr: addr("192.0.2.1"), Port: 8080}},
		},
	}
	var got []string
	for _, target := range Targets(c) {
		got = append(got, target.Key.String()+" at "+target.Address.String())
	}
	want := []string{
		"a/10.0.0.1:80 at 10.0.0.1:80", "a/10.0.0.2:0 at 10.0.0.2:8080", "a/10.0.0.3:0 at 10.0.0.3:99",
		"unused/10.0.0.6:0 at 10.0.0.6:0",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("targets %q, want %q", got, want)
	}
}
