package e2e

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"weir/loader/lb"
	"weir/loader/netlab"
)

const (
	socketPath = runDir + "/weir.sock"
	configPath = runDir + "/weir.yaml"
	stateDir   = runDir + "/state"
	poolName   = "web"
	service    = "web"
)

// settings are the top-level keys of a configuration as YAML.
type settings map[string]string

// with is a copy in which some keys are set.
func (s settings) with(more settings) settings {
	all := maps.Clone(s)
	maps.Copy(all, more)
	return all
}

func defaultSettings() settings {
	return settings{
		"interfaces": "[" + netlab.NIC + "]",
		"xdp_mode":   "native",
		"pin_dir":    pinDir,
		"socket":     socketPath,
		"state_dir":  stateDir,
		"limits":     "{flows: 1000000}",
	}
}

// configuration is one service and its pool; with both, a second service has
// the VIP's address and port over UDP.
type configuration struct {
	settings  settings
	algorithm string
	forward   lb.Forward
	vip       lb.VIP
	both      bool
	backends  []lb.Backend
	health    string // of the pool, as YAML; empty: none
	weights   string // more keys of the pool, as lines of YAML
	limits    string // more keys of each backend, as YAML after a comma
	service   string // more keys of the first service, as YAML
}

func (c configuration) text() string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(c.settings)) {
		fmt.Fprintf(&b, "%s: %s\n", key, c.settings[key])
	}
	pool := ""
	if c.forward != lb.L7 {
		pool = ", pool: " + poolName
		fmt.Fprintf(&b, "pools:\n  - name: %s\n    algorithm: %s\n", poolName, c.algorithm)
		if c.health != "" {
			fmt.Fprintf(&b, "    health: %s\n", c.health)
		}
		b.WriteString(c.weights)
		b.WriteString("    backends:\n")
		for _, x := range c.backends {
			fmt.Fprintf(&b, "      - {address: %q, weight: %d%s}\n", x.Endpoint(), x.Weight, c.limits)
		}
	}
	more := ""
	if c.service != "" {
		more = ", " + c.service
	}
	fmt.Fprintf(&b, "services:\n  - {name: %s, vip: %q, forward: %s%s%s}\n", service, c.vip, c.forward, pool, more)
	if c.both {
		fmt.Fprintf(&b, "  - {name: %s-udp, vip: %q, forward: %s%s}\n", service, lb.VIP{Addr: c.vip.Addr, Port: c.vip.Port, Proto: lb.UDP}, c.forward, pool)
	}
	return b.String()
}

// endpoint is where clients of the service connect to.
func (c configuration) endpoint() netip.AddrPort { return netip.AddrPortFrom(c.vip.Addr, c.vip.Port) }

// ref is how verbs name a backend.
func ref(s *server) string { return poolName + "/" + s.endpoint.String() }
