package doctor

import (
	"strings"

	"weir/loader/lb"
)

// checkSysctls looks at the settings that replies through this host need.
func checkSysctls(c lb.Config, links []Link, h sysctls) []Finding {
	var all []Finding
	v4, v6 := replyFamilies(c)
	for _, l := range links {
		if v4 {
			all = append(all, checkForwarding("ipv4", l, h)...)
			all = append(all, checkReversePath(l, h)...)
		}
		if v6 {
			all = append(all, checkForwarding("ipv6", l, h)...)
		}
	}
	if all == nil {
		all = append(all, fine("sysctls", "as services need them"))
	}
	return all
}

// checkForwarding: bpf_fib_lookup finds no route for replies where it is off.
func checkForwarding(family string, l Link, h sysctls) []Finding {
	key := confKey(family, l.Name, "forwarding")
	value, err := h.Sysctl(key)
	switch {
	case err != nil:
		return []Finding{blind(key, err)}
	case value == "0":
		return []Finding{fault(l.Name, "sysctl -w "+key+"=1", "%s forwarding is off: replies to nat clients are dropped (no_forwarding)", family)}
	}
	return nil
}

// checkReversePath: replies that must wait for their client's MAC address go
// through the kernel with the VIP as their source, which strict filtering
// (RFC 3704; the larger of "all" and the interface's counts) does not expect
// from that side.
func checkReversePath(l Link, h sysctls) []Finding {
	keys := []string{confKey("ipv4", "all", "rp_filter"), confKey("ipv4", l.Name, "rp_filter")}
	strictest := "0"
	var change []string
	for _, key := range keys {
		value, err := h.Sysctl(key)
		if err != nil {
			return []Finding{blind(key, err)}
		}
		if value != "0" {
			change = append(change, key+"=0")
		}
		strictest = max(strictest, value)
	}
	if strictest != "1" {
		return nil
	}
	return []Finding{warning(l.Name, "sysctl -w "+strings.Join(change, " "),
		"strict reverse path filtering is on: replies to clients whose MAC address is not known yet are dropped")}
}

func confKey(family, iface, name string) string {
	return "net/" + family + "/conf/" + iface + "/" + name
}
