package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"weir/loader/lb"
)

const (
	usualMTU = 1500 // bytes, what clients' packets have at most
	minMTU6  = 1280 // RFC 8200, 5

	// maxNativeMTU is what fits one page of 4 KiB with headroom and
	// skb_shared_info: the smallest of the drivers' limits for native XDP
	// without fragments.
	maxNativeMTU = 3498

	ip4Header, ip6Header, udpHeader = 20, 40, 8
)

func checkMTU(c lb.Config, links []Link, hops map[netip.Addr]Hop) []Finding {
	all := each(links, func(l Link) []Finding { return checkLinkMTU(c, l) })
	return append(all, checkTunnelMTU(c, links, hops)...)
}

func checkLinkMTU(c lb.Config, l Link) []Finding {
	native := l.XDP.Program != 0 && !l.XDP.Generic
	switch {
	case l.MTU > maxNativeMTU && !native && c.XDPMode != lb.XDPGeneric:
		return []Finding{warning(l.Name, fmt.Sprintf("ip link set dev %s mtu %d", l.Name, maxNativeMTU),
			"MTU %d is too large for native XDP on most drivers (up to %d): it is refused, or generic is used", l.MTU, maxNativeMTU)}
	case l.MTU < minMTU6 && hasIPv6(c):
		return []Finding{fault(l.Name, fmt.Sprintf("ip link set dev %s mtu %d", l.Name, usualMTU), "MTU %d is below what IPv6 needs, %d", l.MTU, minMTU6)}
	}
	return []Finding{fine(l.Name, "MTU %d", l.MTU)}
}

func hasIPv6(c lb.Config) bool {
	return slices.ContainsFunc(c.Services, func(s lb.Service) bool { return s.VIP.Addr.Is6() })
}

// overhead is the length of the outer headers for a backend, in bytes.
func overhead(f lb.Forward, backend netip.Addr) int {
	n := ip6Header
	if backend.Is4() {
		n = ip4Header
	}
	if f == lb.GUE {
		n += udpHeader
	}
	return n
}

// tunnelNeeds is the largest overhead on the way to each backend's address.
func tunnelNeeds(c lb.Config) map[netip.Addr]int {
	needs := map[netip.Addr]int{}
	pools := poolsOf(c)
	for _, s := range c.Services {
		if !s.Forward.Tunnel() {
			continue
		}
		for _, b := range pools[s.Pool].Backends {
			needs[b.Addr] = max(needs[b.Addr], overhead(s.Forward, b.Addr))
		}
	}
	return needs
}

// checkTunnelMTU compares the MTU to each tunnel's backend with what a packet
// of the usual size becomes.
func checkTunnelMTU(c lb.Config, links []Link, hops map[netip.Addr]Hop) []Finding {
	short := map[int]int{} // interface → MTU needed
	var routes []Finding
	needs := tunnelNeeds(c)
	for _, addr := range slices.SortedFunc(maps.Keys(needs), netip.Addr.Compare) {
		need, hop := usualMTU+needs[addr], hops[addr]
		if !hop.Resolved() || hop.MTU >= need {
			continue
		}
		if l := linkAt(links, hop.IfIndex); l != nil && l.MTU >= need {
			routes = append(routes, warning(addr.String(), fmt.Sprintf("ip route get %s # then: ip route change … mtu %d", addr, need),
				"the route's MTU is %d, and tunnelled packets have up to %d: larger ones are refused with \"too big\"", hop.MTU, need))
			continue
		}
		short[hop.IfIndex] = max(short[hop.IfIndex], need)
	}
	return append(shortLinks(links, short), atMost(routes)...)
}

func shortLinks(links []Link, short map[int]int) []Finding {
	var all []Finding
	for _, index := range slices.Sorted(maps.Keys(short)) {
		name := fmt.Sprintf("if%d", index)
		if l := linkAt(links, index); l != nil {
			name = l.Name
		}
		all = append(all, warning(name, fmt.Sprintf("ip link set dev %s mtu %d # and on the switch and the backends", name, short[index]),
			"the MTU is too small for tunnels: packets of %d bytes become %d, and clients are told to send smaller ones", usualMTU, short[index]))
	}
	return all
}

func linkAt(links []Link, index int) *Link {
	i := slices.IndexFunc(links, func(l Link) bool { return l.Index == index })
	if i < 0 {
		return nil
	}
	return &links[i]
}
