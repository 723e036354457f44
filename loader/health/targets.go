package health

import (
	"net/netip"

	"weir/loader/lb"
)

// Targets is all that a configuration wants checked, in its order. A backend
// without a port is probed at the port of the check or else of the first VIP of
// its pool; if there is none either, only commands can check it.
func Targets(c lb.Config) []Target {
	ports := vipPorts(c.Services)
	var all []Target
	for _, p := range c.Pools {
		for _, b := range p.Backends {
			h := p.HealthOf(b)
			port := firstPort(h.Port, b.Port, ports[p.Name])
			if !h.Enabled() || port == 0 && h.Type != lb.HealthExec {
				continue
			}
			all = append(all, Target{
				Key:     Key{Pool: p.Name, Endpoint: b.Endpoint()},
				Address: netip.AddrPortFrom(b.Addr, port),
				Health:  h,
			})
		}
	}
	return all
}

// vipPorts is, by pool, the first port of a service that uses it.
func vipPorts(services []lb.Service) map[string]uint16 {
	ports := map[string]uint16{}
	for _, s := range services {
		if ports[s.Pool] == 0 {
			ports[s.Pool] = s.VIP.Port
		}
	}
	return ports
}

func firstPort(ports ...uint16) uint16 {
	for _, p := range ports {
		if p != 0 {
			return p
		}
	}
	return 0
}
