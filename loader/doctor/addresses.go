package doctor

import (
	"fmt"
	"net/netip"

	"weir/loader/lb"
)

type addresses interface {
	Addresses() (map[netip.Addr]string, error)
	sysctls
}

// checkAddresses compares the VIPs with this host's own addresses.
func checkAddresses(c lb.Config, links []Link, h addresses) []Finding {
	own, err := h.Addresses()
	if err != nil {
		return []Finding{blind("addresses", err)}
	}
	var all []Finding
	for _, s := range distinctVIPs(c) {
		iface, here := own[s.VIP.Addr]
		switch {
		case s.Forward == lb.L7 && !here:
			all = append(all, fault(s.VIP.Addr.String(), "ip addr add "+hostPrefix(s.VIP.Addr)+" dev lo",
				"service %s is left to this host's sockets, but the VIP is no address of this host", s.Name))
		case here && takesReplies(s.Forward):
			all = append(all, each(links, func(l Link) []Finding { return checkMartian(s, iface, l, h) })...)
		}
		if here && s.VIP.Addr.Is4() {
			all = append(all, each(links, func(l Link) []Finding { return checkSilent(s.VIP.Addr, iface, l, h) })...)
		}
	}
	if all == nil {
		all = append(all, fine("addresses", "this host has just the VIPs it shall have"))
	}
	return atMost(all)
}

// distinctVIPs gives one service for each (address, mode).
func distinctVIPs(c lb.Config) []lb.Service {
	type key struct {
		addr netip.Addr
		mode lb.Forward
	}
	seen := map[key]bool{}
	var all []lb.Service
	for _, s := range c.Services {
		k := key{s.VIP.Addr, s.Forward}
		if !seen[k] {
			seen[k] = true
			all = append(all, s)
		}
	}
	return all
}

// checkMartian: a reply that goes through the kernel has the VIP as its source;
// IPv4 drops packets that come from outside with an address of this host
// (fib_validate_source), unless accept_local is set.
func checkMartian(s lb.Service, on string, l Link, h sysctls) []Finding {
	if !s.VIP.Addr.Is4() {
		return nil
	}
	for _, iface := range []string{"all", l.Name} {
		if value, err := h.Sysctl(confKey("ipv4", iface, "accept_local")); err != nil || value != "0" {
			return nil
		}
	}
	return []Finding{warning(s.VIP.Addr.String(),
		fmt.Sprintf("ip addr del %s dev %s # or, to keep it: sysctl -w %s=1", hostPrefix(s.VIP.Addr), on, confKey("ipv4", l.Name, "accept_local")),
		"the VIP of %s (%s) is an address of this host, on %s: replies to clients whose MAC address is not known yet are dropped as martians", s.Name, s.Forward, on)}
}

// checkSilent: with arp_ignore, which DSR backends have, a host does not answer
// for an address of another interface.
func checkSilent(vip netip.Addr, on string, l Link, h sysctls) []Finding {
	if on == l.Name || !onLink(l, vip) {
		return nil
	}
	for _, iface := range []string{"all", l.Name} {
		key := confKey("ipv4", iface, "arp_ignore")
		if value, err := h.Sysctl(key); err == nil && value != "0" {
			return []Finding{warning(vip.String(), "sysctl -w "+key+"=0", "the VIP is on %s and arp_ignore keeps %s from answering for it: hosts of its network do not find it", on, l.Name)}
		}
	}
	return nil
}

// onLink reports whether an address is in a network of an interface.
func onLink(l Link, a netip.Addr) bool {
	for _, p := range l.Prefixes {
		if p.Bits() < p.Addr().BitLen() && p.Contains(a) {
			return true
		}
	}
	return false
}

func hostPrefix(a netip.Addr) string { return netip.PrefixFrom(a, a.BitLen()).String() }
