package demo

import (
	"net/netip"
	"testing"

	"weir/loader/config"
	"weir/loader/lb"
)

// What the demo writes must be what the daemon reads.
func TestDaemonConfigIsRead(t *testing.T) {
	for _, addrs := range [][3]string{
		{"198.51.100.10", "10.80.0.10:80", "10.80.0.11:80"},
		{"2001:db8:100::10", "[fd80::10]:80", "[fd80::11]:80"},
	} {
		vip := netip.MustParseAddr(addrs[0])
		servers := testServers()
		for i, s := range servers {
			s.endpoint = netip.MustParseAddrPort(addrs[i+1])
		}
		c, err := config.Parse("weir.yaml", []byte(daemonConfig(testOptions(), vip, netip.Addr{}, servers)))
		if err != nil {
			t.Fatal(err)
		}
		if c.XDPMode != lb.XDPNative || c.PinDir != pinDir || c.Socket != socketPath || c.StateDir != runDir {
			t.Errorf("settings: %+v", c)
		}
		pool, service := c.Pools[0], c.Services[0]
		if pool.Algorithm != lb.WeightedRoundRobin || pool.Backends[1].Endpoint() != servers[1].endpoint || pool.Backends[0].Weight != 3 {
			t.Errorf("pool: %+v", pool)
		}
		if service.Forward != lb.DSR || service.VIP != (lb.VIP{Addr: vip, Port: vipPort, Proto: lb.TCP}) || service.Pool != pool.Name {
			t.Errorf("service: %+v", service)
		}
	}
}

func TestTierConfigIsRead(t *testing.T) {
	vip := netip.MustParseAddr("2001:db8:100::10")
	opts := testOptions()
	opts.l7 = true
	c, err := config.Parse("weir.yaml", []byte(daemonConfig(opts, vip, netip.Addr{}, testServers())))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 3 || c.Services[0].Forward != lb.L7 || c.Pools[0].HTTP == nil {
		t.Errorf("services %+v, pool %+v", c.Services, c.Pools[0])
	}
	for _, l := range c.HTTP.Listeners {
		if l.Addresses[0].Addr() != vip || (l.TLS != nil) != l.HTTP3 {
			t.Errorf("listener %+v", l)
		}
	}
}
