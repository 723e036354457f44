package netlab

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Sysctls are settings below /proc/sys/net: "ipv4/ip_forward" → "1".
type Sysctls map[string]string

// Set writes settings inside the namespace, in the order of their names. On a
// kernel without IPv6, or without a firewall for bridges, their settings are
// left out.
func (n *NS) Set(settings Sysctls) error {
	return n.Do(func() error {
		for _, name := range slices.Sorted(maps.Keys(settings)) {
			if part, _, _ := strings.Cut(name, "/"); part != "ipv4" && missing(filepath.Join("/proc/sys/net", part)) {
				continue
			}
			path := filepath.Join("/proc/sys/net", name)
			if err := os.WriteFile(path, []byte(settings[name]), 0); err != nil {
				return fmt.Errorf("setting net/%s to %s in %s: %w", name, settings[name], n.Name, err)
			}
		}
		return nil
	})
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return err != nil
}

// hostSysctls make a fresh namespace predictable; set before it gets its
// interfaces, which copy "default".
func hostSysctls() Sysctls {
	return Sysctls{
		"ipv4/conf/all/rp_filter":                "0",
		"ipv4/conf/default/rp_filter":            "0",
		"ipv4/conf/all/send_redirects":           "0", // one-arm: everything leaves where it came in
		"ipv4/conf/default/send_redirects":       "0",
		"ipv4/conf/all/accept_redirects":         "0", // else a host learns ways around the balancer
		"ipv4/conf/default/accept_redirects":     "0",
		"ipv6/conf/all/accept_dad":               "0", // addresses usable at once
		"ipv6/conf/default/accept_dad":           "0",
		"ipv6/conf/default/dad_transmits":        "0",
		"ipv6/conf/default/router_solicitations": "0",
		"ipv6/conf/default/accept_redirects":     "0", // "all" of IPv6 reaches no interface
	}
}

// routerSysctls let the namespace forward; bpf_fib_lookup asks for that too.
func routerSysctls() Sysctls {
	return Sysctls{
		"ipv4/ip_forward":          "1",
		"ipv6/conf/all/forwarding": "1",
	}
}

// dsrSysctls keep a backend that has the VIP on lo from answering ARP for it.
func dsrSysctls() Sysctls {
	return Sysctls{
		"ipv4/conf/all/arp_ignore":   "1",
		"ipv4/conf/all/arp_announce": "2",
	}
}

// clientSysctls give the client as many ports as there are.
func clientSysctls() Sysctls {
	return Sysctls{"ipv4/ip_local_port_range": "1024 65535"}
}

// switchSysctls keep the bridge out of the IP layer: it forwards malformed
// packets, too (net/bridge/br_netfilter_hooks.c drops them).
func switchSysctls() Sysctls {
	return Sysctls{
		"bridge/bridge-nf-call-iptables":  "0",
		"bridge/bridge-nf-call-ip6tables": "0",
		"bridge/bridge-nf-call-arptables": "0",
		"ipv6/conf/all/disable_ipv6":      "1",
		"ipv6/conf/default/disable_ipv6":  "1",
	}
}
