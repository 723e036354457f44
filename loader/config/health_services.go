package config

import (
	"fmt"

	"weir/loader/lb"
)

// checkHealthPorts reports checks that have no port to go to.
func checkHealthPorts(r *report, c lb.Config) {
	every := map[string]lb.VIP{} // pools of services on every port
	for _, s := range c.Services {
		if s.VIP.Port == 0 {
			every[s.Pool] = s.VIP
		}
	}
	for i, p := range c.Pools {
		vip, is := every[p.Name]
		for j, b := range p.Backends {
			h := p.HealthOf(b)
			if !is || b.Port != 0 || h.Port != 0 || !h.Enabled() || h.Type == lb.HealthExec {
				continue
			}
			at := top.key("pools").item(i).key("health")
			if b.Health != nil {
				at = top.key("pools").item(i).key("backends").item(j).key("health")
			}
			r.missing(at.key("port"), fmt.Sprintf("needed, as VIP %s is on every port", vip))
			break
		}
	}
}

// checkHealthVia reports checks by VIPs where no VIP can be probed, and those
// of which a probe by VIP would leave out what they ask.
func checkHealthVia(r *report, c lb.Config) {
	keeps := map[string]bool{}
	for _, s := range c.Services {
		keeps[s.Pool] = keeps[s.Pool] || s.Forward.KeepsPacket() && s.VIP.Proto == lb.TCP
	}
	for i, p := range c.Pools {
		for j, b := range p.Backends {
			h := p.HealthOf(b)
			wrong := viaFault(h, keeps[p.Name])
			if wrong == "" {
				continue
			}
			at := top.key("pools").item(i).key("health")
			if b.Health != nil {
				at = top.key("pools").item(i).key("backends").item(j).key("health")
			}
			r.field(at.key("via"), "%s %s", quote(string(h.Via)), wrong)
			break
		}
	}
}

// viaFault says what is wrong with probes by VIP of this check, or nothing.
func viaFault(h lb.Health, possible bool) string {
	switch {
	case h.Via != lb.ViaVIP && h.Via != lb.ViaBoth:
		return ""
	case !possible:
		return "needs a service of the pool that is forwarded by dsr, ipip or gue over TCP"
	case h.Via == lb.ViaVIP && !h.OnlyConnects():
		return "finds out no more than that a connection is accepted, and this check asks more: say both, or type tcp without send and expect"
	}
	return ""
}
