package demo

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"weir/loader/netlab"
)

func (d *demo) title() string {
	return fmt.Sprintf("weir demo: %s, %s, IPv%d, XDP %s on %s/%s", d.opts.algorithm, d.opts.mode(), d.opts.family,
		d.xdpMode, d.topo.Balancer.Name, netlab.NIC)
}

// runCommand starts a daemon in place of one that has ended. `ip netns exec`
// would hide the bpf file system with the pins.
func (d *demo) runCommand() string {
	return fmt.Sprintf("nsenter --net=%s weir run -c %s", filepath.Join(netlab.NetnsDir, d.topo.Balancer.Name), configPath)
}

// commands is what to try while the demo holds.
func (d *demo) commands() string {
	first := fmt.Sprintf("%s/%s", poolName, d.servers[0].endpoint)
	url := fmt.Sprintf("http://%s", netip.AddrPortFrom(d.topo.VIP, vipPort))
	socket := " --socket " + socketPath
	client := "ip netns exec " + d.topo.Client.Name + " "
	balancer := "ip netns exec " + d.topo.Balancer.Name + " "
	lines := []string{
		"The demo stays up under light load until Ctrl-C. In another terminal, as root:",
		"  weir status" + socket,
		"  weir backend list" + socket,
		"  weir backend set " + first + " --weight 5" + socket,
		"  weir backend drain " + first + socket,
		"  weir backend ready " + first + socket,
		"  weir tail" + socket,
		"  weir flows" + socket,
		"  weir metrics" + socket,
		"  " + client + "curl " + url + "/",
		"  " + client + "curl -o /dev/null '" + url + "/stream?bytes=20000000&rate=1000000'   # a long transfer",
		"  " + balancer + "curl http://" + d.servers[0].endpoint.String() + "/stats   # the backend's own counts",
		"The daemon may be killed; the kernel keeps forwarding. Start it again with:",
		"  " + d.runCommand(),
		"",
	}
	return strings.Join(lines, "\n")
}
