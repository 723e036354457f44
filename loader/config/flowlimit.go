package config

import (
	"time"

	"weir/loader/lb"
)

// readFlowLimits reads how many flows a service may be asked to open.
func readFlowLimits(r *report, p *path, raw service, s *lb.Service) {
	if l := raw.NewFlowsPerSource; l != nil {
		s.NewFlowsPerSource = sourceLimit(r, p.key("new_flows_per_source"), *l)
	}
	if raw.MaxNewFlows != nil {
		s.MaxNewFlows = inRange(r, p.key("max_new_flows"), *raw.MaxNewFlows, 1, lb.MaxNewFlows)
	}
	// The flows of l7 are not in the flow table: each UDP packet looks new.
	if s.Forward != lb.L7 || s.VIP.Proto != lb.UDP {
		return
	}
	for key, is := range map[string]bool{"new_flows_per_source": raw.NewFlowsPerSource != nil, "max_new_flows": raw.MaxNewFlows != nil} {
		if is {
			r.field(p.key(key), "must be left out: with l7 over UDP the packets that open flows cannot be told from others")
		}
	}
}

func sourceLimit(r *report, p *path, raw flowLimit) lb.FlowLimit {
	l := lb.FlowLimit{Rate: inRange(r, p.key("rate"), raw.Rate, 1, lb.MaxSourceRate), Burst: uint32(min(raw.Rate, lb.MaxSourceBurst))}
	if raw.Burst != nil {
		l.Burst = inRange(r, p.key("burst"), *raw.Burst, 1, lb.MaxSourceBurst)
	}
	if l.Rate > 0 && time.Duration(l.Burst)*time.Second/time.Duration(l.Rate) > lb.MaxBurstTime {
		r.field(p.key("burst"), "%d new flows at %d a second take longer than %s to be available again", l.Burst, l.Rate, lb.MaxBurstTime)
	}
	return l
}
