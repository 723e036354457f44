package e2e

import (
	"bufio"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"weir/loader/netlab"
)

// startAgents sets the backends of a tunnel up as their operators would, until
// the end of the test.
func startAgents(t *testing.T, topo *netlab.Topology) {
	t.Helper()
	for _, host := range topo.Backends {
		startAgent(t, host, "--vip", topo.VIP.String(), "--interface", netlab.NIC, "--state-dir", runDir)
	}
}

// startAgent runs `weir agent dsr` and returns when it is ready.
func startAgent(t *testing.T, host netlab.Host, args ...string) {
	t.Helper()
	cmd, log := exec.Command(weirPath, append([]string{"agent", "dsr"}, args...)...), &logBuffer{}
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = host.NS.Start(cmd)
	}
	if err != nil {
		t.Fatal("starting an agent:", err)
	}
	late := time.AfterFunc(readyWithin, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := cmd.Wait(); err != nil {
			t.Errorf("the agent of %s: %v: %s", host.Addr, err, log)
		}
		late.Stop()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("the agent of %s is not ready: %v: %q %s", host.Addr, err, line, log)
	}
}
