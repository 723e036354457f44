package api

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"weir/loader/agents"
	"weir/loader/api/wire"
	"weir/loader/control"
	"weir/loader/health"
	"weir/loader/lb"
)

// view joins what is in force with one reading of the counters.
type view struct {
	*control.Snapshot
	counters  lb.Counters
	hopReason func(netip.Addr) string
	agent     func(control.Ref) (agents.Status, bool)
}

func (v view) services() []wire.Service {
	all := make([]wire.Service, 0, len(v.State.Services))
	traffic, refused := v.byVIP(), v.refused()
	for _, st := range v.State.Services {
		s := wire.Service{Name: st.Service.Name, VIP: st.Service.VIP, Forward: st.Service.Forward,
			Backends: len(st.Backends), Traffic: traffic[st.Service.VIP], Refused: refused[st.Service.VIP]}
		if st.Service.Forward != lb.L7 {
			s.Pool = st.Service.Pool
			s.Algorithm = v.State.Tables[st.Table].Algorithm.String()
		}
		for _, b := range st.Backends {
			if b.Effective > 0 {
				s.Taking++
			}
		}
		all = append(all, s)
	}
	return all
}

func (v view) refused() map[lb.VIP]wire.Refused {
	all := make(map[lb.VIP]wire.Refused, len(v.counters.Services))
	for _, c := range v.counters.Services {
		all[c.VIP] = wire.Refused{ACL: c.ACL, NewFlowsPerSource: c.NewFlowsPerSource, MaxNewFlows: c.MaxNewFlows}
	}
	return all
}

func (v view) byVIP() map[lb.VIP]wire.Traffic {
	all := map[lb.VIP]wire.Traffic{}
	for _, c := range v.counters.Backends {
		t := all[c.VIP]
		t.Add(wire.TrafficOf(c))
		all[c.VIP] = t
	}
	return all
}

// backends lists those of the configuration in its order, then the retired.
func (v view) backends() []wire.Backend {
	all := []wire.Backend{}
	index := map[control.Ref]int{}
	for _, p := range v.Config.Pools {
		now := v.Backends(p.Name)
		share := shares(p.Algorithm, now)
		for i, b := range p.Backends {
			index[control.Ref{Pool: p.Name, Endpoint: b.Endpoint()}] = len(all)
			out := v.configured(p.Name, b, now[i])
			out.Share = share(now[i].Effective)
			all = append(all, out)
		}
	}
	for _, c := range v.counters.Backends {
		s := v.ServiceAt(c.VIP)
		r := control.Ref{Pool: s.Pool, Endpoint: c.Endpoint}
		i, known := index[r]
		if !known {
			i = len(all)
			index[r] = i
			all = append(all, wire.Backend{Pool: r.Pool, Backend: r.Endpoint, State: wire.StateRetired})
		}
		all[i].Traffic.Add(wire.TrafficOf(c))
		all[i].Services = append(all[i].Services, backendTraffic(s.Name, c))
	}
	return all
}

func (v view) configured(pool string, b lb.Backend, now lb.BackendState) wire.Backend {
	out := wire.Backend{Pool: pool, Backend: b.Endpoint(), State: wire.StateReady, Weight: b.Weight,
		Services: []wire.BackendTraffic{}, Effective: control.Units(now.Effective)}
	if now.Effective == 0 {
		out.State = wire.StateDrained
	}
	if state, checked := v.Health(control.Ref{Pool: pool, Endpoint: b.Endpoint()}); checked && state != health.Up {
		out.State = wire.StateDown
	}
	if o, ok := v.Overrides[control.Ref{Pool: pool, Endpoint: b.Endpoint()}]; ok {
		out.Override = overrideNote(o)
	}
	if hop := now.Hop; hop.Resolved() {
		out.Resolved, out.Interface, out.MAC = true, hop.IfIndex, net.HardwareAddr(hop.DstMAC[:]).String()
	}
	return out
}

// shares gives the part of a pool's new flows that a weight stands for. Plain
// round robin knows no weights but 0.
func shares(a lb.Algorithm, backends []lb.BackendState) func(lb.EffectiveWeight) float64 {
	var sum, taking float64
	for _, b := range backends {
		sum += float64(b.Effective)
		if b.Effective > 0 {
			taking++
		}
	}
	return func(w lb.EffectiveWeight) float64 {
		switch {
		case w == 0:
			return 0
		case a == lb.RoundRobin:
			return 1 / taking
		}
		return float64(w) / sum
	}
}

func backendTraffic(service string, c lb.BackendCounters) wire.BackendTraffic {
	return wire.BackendTraffic{Service: service, VIP: c.VIP, ID: c.ID, Retired: c.Retired, Traffic: wire.TrafficOf(c)}
}

func (v view) totals() wire.Totals {
	var t wire.Totals
	for _, c := range v.counters.Backends {
		t.Add(wire.TrafficOf(c))
	}
	for _, r := range v.counters.Reasons {
		switch r.Verdict {
		case "drop":
			t.Dropped += r.Packets
		case "pass":
			t.Passed += r.Packets
		}
	}
	return t
}

// reasons are those that any packet met, most frequent first.
func (v view) reasons() []lb.ReasonCount {
	all := slices.DeleteFunc(slices.Clone(v.counters.Reasons), func(r lb.ReasonCount) bool { return r.Packets == 0 })
	slices.SortStableFunc(all, func(a, b lb.ReasonCount) int { return cmp.Compare(b.Packets, a.Packets) })
	if all == nil {
		return []lb.ReasonCount{}
	}
	return all
}

func (v view) flow(f lb.Flow) wire.Flow {
	s := v.ServiceAt(f.VIP)
	return wire.Flow{Flow: f, Service: s.Name, Pool: s.Pool}
}

// backendCount counts the backends of all pools.
func (v view) backendCount() int {
	n := 0
	for _, p := range v.Config.Pools {
		n += len(p.Backends)
	}
	return n
}

// matchesBackend reports whether an endpoint is what the user named: an
// address with or without a port.
func matchesBackend(ep netip.AddrPort, want string) bool {
	return want == "" || ep.String() == want || ep.Addr().String() == want
}

// mergeServices adds up what has the same VIP: a backend that was retired and
// came back can have two ids for a while.
func mergeServices(all []wire.BackendTraffic) []wire.BackendTraffic {
	var out []wire.BackendTraffic
	for _, t := range all {
		i := slices.IndexFunc(out, func(o wire.BackendTraffic) bool { return o.VIP == t.VIP })
		if i < 0 {
			out = append(out, t)
			continue
		}
		out[i].Traffic.Add(t.Traffic)
	}
	return out
}
