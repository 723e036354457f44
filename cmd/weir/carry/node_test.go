package carry

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/loader/api/client"
	"weir/loader/api/wire"
	"weir/loader/lb"
	"weir/loader/netlab"
)

// Ports of the VIP.
const (
	httpPort = 80
	echoPort = 7
)

const readyWithin = time.Minute

// node is a balancer: a host for `weir run`.
type node struct {
	ns                *netlab.NS
	dir, pins, socket string
	source            netip.Addr // for snat
}

func (l *lab) addNode(t *testing.T, ns *netlab.NS) *node {
	t.Helper()
	i := len(l.nodes)
	n := &node{ns: ns, dir: t.TempDir(), pins: fmt.Sprint(pinsDir, i), source: l.SourceAddr}
	n.socket = filepath.Join(n.dir, "weir.sock")
	l.nodes = append(l.nodes, n)
	return n
}

// config is what all nodes have in common, in places of the node's own.
func (l *lab) config(n *node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [%s]\nxdp_mode: native\nseed: 7\npin_dir: %s\nsocket: %s\nstate_dir: %s\n", netlab.NIC, n.pins, n.socket, n.dir)
	if n.source.IsValid() {
		fmt.Fprintf(&b, "snat: {addresses: [%q]}\n", n.source)
	}
	pool := ", pool: web"
	if l.plan.forward == lb.L7 {
		pool = ""
	} else {
		fmt.Fprintf(&b, "pools:\n  - name: web\n    backends:\n")
		for _, backend := range l.Backends {
			fmt.Fprintf(&b, "      - {address: %q}\n", backend.Addr)
		}
	}
	fmt.Fprintf(&b, "services:\n")
	for _, v := range []lb.VIP{{Addr: l.VIP, Port: httpPort, Proto: lb.TCP}, {Addr: l.VIP, Port: echoPort, Proto: lb.UDP}} {
		fmt.Fprintf(&b, "  - {name: %s, vip: %q, forward: %s%s}\n", v.Proto, v, l.plan.forward, pool)
	}
	return b.String()
}

// run starts the daemon and waits until it serves.
func (n *node) run(t *testing.T, config string) {
	t.Helper()
	path := filepath.Join(n.dir, "weir.yaml")
	must(t, os.WriteFile(path, []byte(config), 0o644))
	t.Cleanup(func() {
		if out, err := exec.Command(weir, "unload", "--pin-dir", n.pins, "--socket", n.socket).CombinedOutput(); err != nil {
			t.Errorf("unload: %v: %s", err, out)
		}
	})
	spawn(t, n.ns, exec.Command(weir, "run", "-c", path))
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	c := client.New(n.socket)
	for _, err := c.Status(ctx); err != nil; _, err = c.Status(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("the daemon is not ready: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// status asks the daemon.
func (n *node) status(t *testing.T) wire.Status {
	t.Helper()
	s, err := client.New(n.socket).Status(t.Context())
	must(t, err)
	return s
}

// drops counts dropped packets by reason; reasons that saw none are left out.
func (n *node) drops(t *testing.T) map[string]uint64 {
	t.Helper()
	found := map[string]uint64{}
	for _, r := range n.status(t).Reasons {
		if r.Verdict == "drop" && r.Packets > 0 {
			found[r.Reason] = r.Packets
		}
	}
	return found
}

// startAgent runs `weir agent dsr` on a backend and returns when it is ready.
func startAgent(t *testing.T, ns *netlab.NS, args ...string) {
	t.Helper()
	cmd := exec.Command(weir, append([]string{"agent", "dsr", "--interface", netlab.NIC, "--state-dir", t.TempDir()}, args...)...)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	spawn(t, ns, cmd)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("the agent wrote %q: %v", line, err)
	}
}

// spawn starts weir in a namespace. It is killed at the end of the test.
func spawn(t *testing.T, ns *netlab.NS, cmd *exec.Cmd) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, ns.Start(cmd))
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s\n%s", cmd, cmd.ProcessState, &stderr)
		}
	})
}
