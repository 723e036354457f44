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

func TestTargetsByVIP(t *testing.T) {
	addr := netip.MustParseAddr
	vip := func(a string, port uint16, p lb.Proto) lb.VIP { return lb.VIP{Addr: addr(a), Port: port, Proto: p} }
	for _, c := range []struct {
		name     string
		health   lb.Health
		services []lb.Service
		want     []string
	}{
		{"nat", lb.Health{Type: lb.HealthTCP}, []lb.Service{{Pool: "p", VIP: vip("192.0.2.1", 80, lb.TCP), Forward: lb.NAT}}, []string{"p/10.0.0.1:0"}},
		{"dsr", lb.Health{Type: lb.HealthTCP}, []lb.Service{{Pool: "p", VIP: vip("192.0.2.1", 80, lb.TCP), Forward: lb.DSR}}, []string{"p/10.0.0.1:0 for 192.0.2.1:80"}},
		{"two VIPs", lb.Health{Type: lb.HealthTCP}, []lb.Service{
			{Pool: "p", VIP: vip("192.0.2.1", 80, lb.TCP), Forward: lb.IPIP}, {Pool: "p", VIP: vip("192.0.2.1", 443, lb.TCP), Forward: lb.GUE},
		}, []string{"p/10.0.0.1:0 for 192.0.2.1:80", "p/10.0.0.1:0 for 192.0.2.1:443"}},
		{"UDP", lb.Health{Type: lb.HealthTCP}, []lb.Service{{Pool: "p", VIP: vip("192.0.2.1", 53, lb.UDP), Forward: lb.DSR}}, []string{"p/10.0.0.1:0"}},
		{"other family", lb.Health{Type: lb.HealthTCP}, []lb.Service{{Pool: "p", VIP: vip("2001:db8::1", 80, lb.TCP), Forward: lb.IPIP}}, []string{"p/10.0.0.1:0"}},
		{"http asks too", lb.Health{Type: lb.HealthHTTP}, []lb.Service{{Pool: "p", VIP: vip("192.0.2.1", 80, lb.TCP), Forward: lb.DSR}},
			[]string{"p/10.0.0.1:0 for 192.0.2.1:80", "p/10.0.0.1:0"}},
		{"tcp that expects asks too", lb.Health{Type: lb.HealthTCP, Expect: "220"}, []lb.Service{{Pool: "p", VIP: vip("192.0.2.1", 80, lb.TCP), Forward: lb.DSR}},
			[]string{"p/10.0.0.1:0 for 192.0.2.1:80", "p/10.0.0.1:0"}},
		{"http by VIP only", lb.Health{Type: lb.HealthHTTP, Via: lb.ViaVIP}, []lb.Service{{Pool: "p", VIP: vip("192.0.2.1", 80, lb.TCP), Forward: lb.DSR}},
			[]string{"p/10.0.0.1:0 for 192.0.2.1:80"}},
		{"by address", lb.Health{Type: lb.HealthTCP, Via: lb.ViaAddress}, []lb.Service{{Pool: "p", VIP: vip("192.0.2.1", 80, lb.TCP), Forward: lb.DSR}}, []string{"p/10.0.0.1:0"}},
		{"every port and the port", lb.Health{Type: lb.HealthTCP, Port: 80, Via: lb.ViaVIP}, []lb.Service{
			{Pool: "p", VIP: vip("192.0.2.1", 0, lb.TCP), Forward: lb.DSR}, {Pool: "p", VIP: vip("192.0.2.1", 80, lb.TCP), Forward: lb.DSR},
		}, []string{"p/10.0.0.1:0 for 192.0.2.1:80"}},
		{"not checked", lb.Health{}, []lb.Service{{Pool: "p", VIP: vip("192.0.2.1", 80, lb.TCP), Forward: lb.DSR}}, nil},
	} {
		cfg := lb.Config{Services: c.services, Pools: []lb.Pool{{Name: "p", Health: c.health, Backends: []lb.Backend{{Addr: addr("10.0.0.1")}}}}}
		var got []string
		for _, target := range Targets(cfg) {
			got = append(got, target.Key.String())
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: targets %q, want %q", c.name, got, c.want)
		}
	}
}
