package doctor

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"weir/loader/lb"
)

func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

type owners interface {
	prober
	Addresses() (map[netip.Addr]string, error)
}

// checkOwners asks the networks of all interfaces who else has a VIP or an
// address that snat takes sources from.
func checkOwners(ctx context.Context, c lb.Config, links []Link, hops map[netip.Addr]Hop, h owners) []Finding {
	own, err := h.Addresses()
	if err != nil {
		return []Finding{blind("addresses", err)}
	}
	addrs, backends := claimed(c), names(c, hops)
	var all []Finding
	for _, l := range links {
		if !l.Up || !l.Carrier || l.MAC == (MAC{}) {
			continue
		}
		found, err := h.Owners(ctx, l, addrs)
		if err != nil {
			all = append(all, blind(l.Name, err))
			continue
		}
		for _, vip := range addrs {
			all = append(all, judgeOwners(l, vip, found[vip], own[vip] != "", backends)...)
		}
	}
	if all == nil {
		all = append(all, fine("VIPs", "no other host answers for one"))
	}
	return atMost(all)
}

func claimed(c lb.Config) []netip.Addr {
	set := map[netip.Addr]bool{}
	for _, s := range c.Services {
		set[s.VIP.Addr] = true
	}
	for _, a := range append(slices.Clone(c.SNAT.Source4), c.SNAT.Source6...) {
		set[a] = true
	}
	return slices.SortedFunc(maps.Keys(set), netip.Addr.Compare)
}

// names tells whose a MAC address is, as far as it is a backend's on the link.
func names(c lb.Config, hops map[netip.Addr]Hop) map[MAC]string {
	all := map[MAC]string{}
	for _, p := range usedPools(c) {
		for _, b := range p.Backends {
			if hop := hops[b.Addr]; hop.Resolved() {
				all[hop.DstMAC] = p.Name + "/" + b.Endpoint().String()
			}
		}
	}
	return all
}

func judgeOwners(l Link, vip netip.Addr, macs []MAC, ours bool, backends map[MAC]string) []Finding {
	var all []Finding
	for _, mac := range macs {
		// A VIP that is routed here is not asked for by ARP, so another
		// owner matters less.
		judge := warning
		if onLink(l, vip) {
			judge = fault
		}
		if name, ok := backends[mac]; ok {
			all = append(all, judge(vip.String(), "sysctl -w net/ipv4/conf/all/arp_ignore=1 net/ipv4/conf/all/arp_announce=2 # on the backend; the address on its lo only",
				"backend %s (%s) answers for this address on %s: traffic may go past weir", name, mac, l.Name))
			continue
		}
		all = append(all, judge(vip.String(), fmt.Sprintf("ip addr del %s dev DEV # on the host with MAC address %s", hostPrefix(vip), mac),
			"another host, %s, answers for this address on %s: traffic may go past weir", mac, l.Name))
	}
	if len(macs) == 0 && !ours && onLink(l, vip) {
		all = append(all, warning(vip.String(), "ip addr add "+hostPrefix(vip)+" dev lo",
			"it is in the network of %s, and nobody answers for it: hosts there do not find it", l.Name))
	}
	return all
}
