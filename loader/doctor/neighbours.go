package doctor

import (
	"net/netip"

	"weir/loader/lb"
)

// checkNeighbours reports backends whose next hop is unknown.
func checkNeighbours(c lb.Config, hops map[netip.Addr]Hop) []Finding {
	var all []Finding
	reached := 0
	for _, p := range usedPools(c) {
		for _, b := range p.Backends {
			hop := hops[b.Addr]
			if hop.Resolved() {
				reached++
				continue
			}
			judge := fault
			if b.Weight == 0 {
				judge = warning
			}
			all = append(all, judge(p.Name+"/"+b.Endpoint().String(), "ip route get "+b.Addr.String()+"; ping -c 3 "+b.Addr.String()+" # is it up, in this network, with this address?",
				"it has no next hop: %s", hop.Reason))
		}
	}
	if all == nil {
		return []Finding{fine("backends", "the next hops of all %d are known", reached)}
	}
	return atMost(all)
}
