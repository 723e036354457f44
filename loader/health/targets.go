package health

import (
	"net/netip"
	"slices"

	"weir/loader/lb"
)

// Targets is all that a configuration wants checked, in its order. A backend
// without a port is probed at the port of the check or else of the first VIP of
// its pool; if there is none either, only commands can check it.
func Targets(c lb.Config) []Target {
	ports, services := vipPorts(c.Services), servicesByVIP(c.Services)
	var all []Target
	for _, p := range c.Pools {
		for _, b := range p.Backends {
			h := p.HealthOf(b)
			if !h.Enabled() {
				continue
			}
			byVIP := targetsByVIP(p.Name, b, h, services[p.Name])
			all = append(all, byVIP...)
			port := firstPort(h.Port, b.Port, ports[p.Name])
			if len(byVIP) > 0 && !alsoByAddress(h) || port == 0 && h.Type != lb.HealthExec {
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

// alsoByAddress reports whether a backend that is probed by VIPs is probed at
// its own address too. By default it is if that tells more.
func alsoByAddress(h lb.Health) bool {
	return h.Via == lb.ViaBoth || h.Via == lb.ViaDefault && !h.OnlyConnects()
}

// targetsByVIP are the probes that travel as traffic does, to each TCP VIP that
// keeps its packets. The answer comes to an address of this host, so the
// backend's must be of the VIP's family.
func targetsByVIP(pool string, b lb.Backend, h lb.Health, services []lb.Service) []Target {
	var all []Target
	for _, s := range services {
		port := firstPort(s.VIP.Port, h.Port)
		if h.Via == lb.ViaAddress || port == 0 || b.Addr.Is4() != s.VIP.Addr.Is4() {
			continue
		}
		vip := netip.AddrPortFrom(s.VIP.Addr, port)
		t := Target{Key: Key{Pool: pool, Endpoint: b.Endpoint(), VIP: vip}, Address: vip, Health: h, Forward: s.Forward}
		if !slices.ContainsFunc(all, func(o Target) bool { return o.Key == t.Key }) { // every port, and the port itself
			all = append(all, t)
		}
	}
	return all
}

// servicesByVIP are, by pool, the services whose backends get packets as
// clients sent them, of which a SYN can be a probe.
func servicesByVIP(services []lb.Service) map[string][]lb.Service {
	all := map[string][]lb.Service{}
	for _, s := range services {
		if s.Forward.KeepsPacket() && s.VIP.Proto == lb.TCP {
			all[s.Pool] = append(all[s.Pool], s)
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
