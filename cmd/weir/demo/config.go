package demo

import (
	"fmt"
	"net/netip"
	"strings"

	"weir/loader/lb"
	"weir/loader/netlab"
)

// One demo at a time, at fixed places, so that the next one finds what a crash
// left and the printed commands are always the same.
const (
	prefix     = "weir-demo" // of the namespaces
	runDir     = "/run/weir-demo"
	configPath = runDir + "/weir.yaml"
	socketPath = runDir + "/weir.sock"
	lockPath   = "/run/weir-demo.lock"
	bpffsDir   = "/sys/fs/bpf"
	pinDir     = bpffsDir + "/weir-demo"
	self       = "/proc/self/exe"
)

// Names in the daemon's configuration.
const (
	poolName    = "web"
	serviceName = "web"
	vipPort     = 80
)

// daemonConfig is the daemon's configuration file. source is the balancer's
// address for snat, if there is one.
func daemonConfig(opts options, vip, source netip.Addr, servers []*server) string {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [%s]\n", netlab.NIC)
	fmt.Fprintf(&b, "xdp_mode: native\n")
	fmt.Fprintf(&b, "pin_dir: %s\nsocket: %s\nstate_dir: %s\n", pinDir, socketPath, runDir)
	if source.IsValid() {
		fmt.Fprintf(&b, "snat: {addresses: [%q]}\n", source)
	}
	fmt.Fprintf(&b, "pools:\n  - name: %s\n    algorithm: %s\n", poolName, opts.algorithm)
	if opts.l7 {
		fmt.Fprintf(&b, "    http: {}\n")
	}
	if opts.resources() {
		fmt.Fprintf(&b, "    weights: resource\n    agent: {ca: %[1]s/keys/ca.crt, certificate: %[1]s/keys/lb.crt, key: %[1]s/keys/lb.key}\n", runDir)
	}
	b.WriteString("    backends:\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "      - {address: %q, weight: %d}\n", s.endpoint, s.weight)
	}
	if opts.l7 {
		tierConfig(&b, vip)
		return b.String()
	}
	v := lb.VIP{Addr: vip, Port: vipPort, Proto: lb.TCP}
	fmt.Fprintf(&b, "services:\n  - {name: %s, vip: %q, forward: %s, pool: %s}\n", serviceName, v, opts.forward, poolName)
	return b.String()
}
