package api

import (
	"cmp"
	"net"
	"net/netip"
	"slices"

	"weir/loader/api/wire"
	"weir/loader/control"
	"weir/loader/lb"
)

// view joins what is in force with one reading of the counters.
type view struct {
	*control.Snapshot
	counters  lb.Counters
	hopReason func(netip.Addr) string
}

func (v view) services() []wire.Service {
	all := make([]wire.Service, 0, len(v.State.Services))
	traffic := v.byVIP()
	for _, st := range v.State.Services {
		s := wire.Service{Name: st.Service.Name, VIP: st.Service.VIP, Forward: st.Service.Forward,
			Backends: len(st.Backends), Traffic: traffic[st.Service.VIP]}
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
		for _, b := range p.Backends {
			index[control.Ref{Pool: p.Name, Endpoint: b.Endpoint()}] = len(all)
			all = append(all, v.configured(p, b))
		}
	}
	for _, c := range v.counters.Backends {
		r := control.Ref{Pool: v.poolAt(c.VIP), Endpoint: c.Endpoint}
		i, known := index[r]
		if !known {
			i = len(all)
			index[r] = i
			all = append(all, wire.Backend{Pool: r.Pool, Backend: r.Endpoint, State: wire.StateRetired})
		}
		all[i].Traffic.Add(wire.TrafficOf(c))
		all[i].Services = append(all[i].Services, v.backendTraffic(c))
	}
	return all
}

func (v view) configured(p lb.Pool, b lb.Backend) wire.Backend {
	r := control.Ref{Pool: p.Name, Endpoint: b.Endpoint()}
	w := v.Effective[r]
	out := wire.Backend{Pool: p.Name, Backend: b.Endpoint(), State: wire.StateReady, Weight: b.Weight,
		Services: []wire.BackendTraffic{}, Effective: control.Units(w), Share: v.share(p, w)}
	if w == 0 {
		out.State = wire.StateDrained
	}
	if o, ok := v.Overrides[r]; ok {
		out.Override = o.String()
	}
	if hop := v.Hop(b.Addr); hop.Resolved() {
		out.Resolved, out.Interface, out.MAC = true, hop.IfIndex, net.HardwareAddr(hop.DstMAC[:]).String()
	}
	return out
}

// share is the part of a pool's new flows that a weight stands for. Plain
// round robin knows no weights but 0.
func (v view) share(p lb.Pool, w lb.EffectiveWeight) float64 {
	var sum, taking float64
	for _, b := range p.Backends {
		e := v.Effective[control.Ref{Pool: p.Name, Endpoint: b.Endpoint()}]
		sum += float64(e)
		if e > 0 {
			taking++
		}
	}
	switch {
	case w == 0:
		return 0
	case p.Algorithm == lb.RoundRobin:
		return 1 / taking
	}
	return float64(w) / sum
}

func (v view) backendTraffic(c lb.BackendCounters) wire.BackendTraffic {
	return wire.BackendTraffic{Service: v.ServiceAt(c.VIP), VIP: c.VIP, ID: c.ID, Retired: c.Retired, Traffic: wire.TrafficOf(c)}
}

func (v view) poolAt(vip lb.VIP) string {
	for _, s := range v.Config.Services {
		if s.VIP == vip {
			return s.Pool
		}
	}
	return ""
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
	return wire.Flow{Flow: f, Service: v.ServiceAt(f.VIP), Pool: v.poolAt(f.VIP)}
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
