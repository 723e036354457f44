package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"weir/loader/netlab"
)

// agent is `weir agent dsr` on a backend of a tunnel.
type agent struct {
	host   netlab.Host
	cmd    *exec.Cmd
	stdout io.Reader
	stderr bytes.Buffer // whole once stop has waited
}

// startAgents sets the backends up as their operators would. Other forwarding
// modes need nothing more than the network has.
func (d *demo) startAgents(context.Context) error {
	if !d.opts.forward.Tunnel() {
		return nil
	}
	var all []*agent
	for _, host := range d.topo.Backends {
		a, err := startAgent(host, "agent", "dsr", "--vip", d.topo.VIP.String(), "--interface", netlab.NIC, "--state-dir", runDir)
		if err != nil {
			return err
		}
		d.onEnd(a.stop)
		all = append(all, a)
	}
	for _, a := range all {
		if err := a.waitReady(); err != nil {
			return err
		}
	}
	return nil
}

func startAgent(host netlab.Host, args ...string) (*agent, error) {
	a := &agent{host: host, cmd: exec.Command(self, args...)}
	a.cmd.Args[0] = "weir"
	a.cmd.Stderr = &a.stderr
	var err error
	if a.stdout, err = a.cmd.StdoutPipe(); err != nil {
		return nil, a.failed("starting", err)
	}
	// As the daemon: Ctrl-C ends it when its turn comes, and so does the end
	// of the demo.
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := host.NS.Start(a.cmd); err != nil {
		return nil, a.failed("starting", err)
	}
	return a, nil
}

// waitReady waits for the first line.
func (a *agent) waitReady() error {
	late := time.AfterFunc(readyTimeout, func() { _ = a.cmd.Process.Kill() })
	defer late.Stop()
	if line, err := bufio.NewReader(a.stdout).ReadString('\n'); err != nil {
		return a.failed("waiting for", fmt.Errorf("it wrote %q: %w", line, err))
	}
	return nil
}

// stop ends the agent, which takes back what it set up.
func (a *agent) stop() error {
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return a.failed("stopping", err)
	}
	late := time.AfterFunc(stopTimeout, func() { _ = a.cmd.Process.Kill() })
	defer late.Stop()
	if err := a.cmd.Wait(); err != nil {
		return a.failed("running", fmt.Errorf("%w: %s", err, bytes.TrimSpace(a.stderr.Bytes())))
	}
	return nil
}

func (a *agent) failed(doing string, err error) error {
	return fmt.Errorf("%s the agent of backend %s: %w", doing, a.host.Addr, err)
}
