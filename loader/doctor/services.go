package doctor

import (
	"net/netip"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

// checkServices looks for services that nobody serves.
func checkServices(s Subject, hops map[netip.Addr]Hop) []Finding {
	var all []Finding
	states, pools := statesOf(s), poolsOf(*s.Config)
	for _, service := range s.Config.Services {
		if service.Forward != lb.L7 {
			all = append(all, checkService(service, pools[service.Pool], states, hops)...)
		}
	}
	if all == nil {
		return []Finding{fine("services", "each has a backend that takes flows and can be reached")}
	}
	return atMost(all)
}

type backendName struct {
	pool     string
	endpoint netip.AddrPort
}

// statesOf is what the daemon says about each backend; without one, what the
// configuration makes of it.
func statesOf(s Subject) map[backendName]wire.Backend {
	all := map[backendName]wire.Backend{}
	if s.Daemon != nil {
		for _, b := range s.Daemon.Backends {
			all[backendName{b.Pool, b.Backend}] = b
		}
		return all
	}
	for _, p := range s.Config.Pools {
		for _, b := range p.Backends {
			state := wire.StateReady
			if b.Weight == 0 {
				state = wire.StateDrained
			}
			all[backendName{p.Name, b.Endpoint()}] = wire.Backend{State: state, Weight: b.Weight}
		}
	}
	return all
}

func checkService(s lb.Service, p lb.Pool, states map[backendName]wire.Backend, hops map[netip.Addr]Hop) []Finding {
	where := s.Name
	taking, reached := 0, 0
	remedy := ""
	for _, b := range p.Backends {
		now := states[backendName{p.Name, b.Endpoint()}]
		if now.State == wire.StateReady {
			taking++
			if hops[b.Addr].Resolved() {
				reached++
			}
		} else if remedy == "" {
			remedy = wake(p.Name+"/"+b.Endpoint().String(), now)
		}
	}
	switch {
	case taking == 0:
		return []Finding{fault(where, remedy, "no backend takes new flows: each of %d is drained; new clients of %s are dropped (no_backend)", len(p.Backends), s.VIP)}
	case reached == 0:
		return []Finding{fault(where, "ip neigh; ip route # see the findings about neighbours", "no backend that takes flows can be reached: clients of %s are dropped (no_next_hop)", s.VIP)}
	}
	return nil
}

// wake is the command that gives a backend new flows again.
func wake(name string, b wire.Backend) string {
	if b.Override != "" && b.Weight > 0 {
		return "weir backend ready " + name
	}
	return "weir backend set " + name + " --weight 1"
}
