package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/loader/api/wire"
)

// resourceBased is the algorithm whose demo has agents, and a backend that is
// burned.
const resourceBased = "resource_based"

const (
	agentPort = 9707
	cgroups   = "/sys/fs/cgroup"
	// A fifth of a CPU is all that a backend's group has, so that burning one
	// leaves the rest of this machine alone.
	quotaMicros, periodMicros = "20000", "100000"
)

// startReporting runs `weir agent run` on each backend, scoped to a control group of
// the backend's own.
func (d *demo) startReporting(context.Context) error {
	if !d.opts.resources() {
		return nil
	}
	args := []string{"agent", "keys", "--dir", runDir + "/keys", "--balancer", "lb"}
	for _, host := range d.topo.Backends {
		args = append(args, "--backend", host.Addr.String())
	}
	if out, err := exec.Command(self, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("making keys: %w: %s", err, bytes.TrimSpace(out))
	}
	for i, host := range d.topo.Backends {
		group := fmt.Sprintf("%s-%d", prefix, i+1)
		dirs, err := makeGroup(group)
		d.onEnd(func() error { return removeGroup(dirs) })
		if err != nil {
			return fmt.Errorf("making the control group of backend %s: %w", host.Addr, err)
		}
		d.groups = append(d.groups, dirs)
		pair := runDir + "/keys/agent-" + host.Addr.String()
		state := filepath.Join(runDir, group)
		a, err := startAgent(host, "agent", "run", "--cgroup", "/"+group, "--tau", "1s",
			"--listen", "["+host.Addr.String()+"]:"+strconv.Itoa(agentPort), "--socket", state+"/agent.sock", "--state-dir", state,
			"--ca", runDir+"/keys/ca.crt", "--cert", pair+".crt", "--key", pair+".key")
		if err != nil {
			return err
		}
		d.onEnd(a.stop)
	}
	return nil
}

// makeGroup gives the directories of a control group with a little CPU, of
// version 2 or of each controller that an agent reads.
func makeGroup(name string) (dirs []string, err error) {
	if text, err := os.ReadFile(cgroups + "/cgroup.controllers"); err == nil && strings.Contains(string(text), "cpu") {
		dirs = []string{filepath.Join(cgroups, name)}
		return dirs, errors.Join(write(cgroups+"/cgroup.subtree_control", "+cpu +memory +io"), makeDir(dirs[0]),
			write(dirs[0]+"/cpu.max", quotaMicros+" "+periodMicros))
	}
	for _, controller := range []string{"cpu", "cpuacct", "memory", "blkio"} {
		root, err := filepath.EvalSymlinks(filepath.Join(cgroups, controller))
		if err != nil {
			return dirs, err
		}
		if err := makeDir(filepath.Join(root, name)); err != nil {
			return dirs, err
		}
		dirs = append(dirs, filepath.Join(root, name))
	}
	return dirs, errors.Join(write(dirs[0]+"/cpu.cfs_period_us", periodMicros), write(dirs[0]+"/cpu.cfs_quota_us", quotaMicros))
}

// makeDir takes over what a killed demo left.
func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func write(path, text string) error { return os.WriteFile(path, []byte(text), 0o644) }

func removeGroup(dirs []string) error {
	var errs []error
	for _, dir := range dirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("removing a control group: %w", err))
		}
	}
	return errors.Join(errs...)
}

// removeGroups removes what an earlier demo left.
func removeGroups() error {
	var dirs []string
	for _, pattern := range []string{cgroups + "/" + prefix + "-*", cgroups + "/*/" + prefix + "-*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		dirs = append(dirs, found...)
	}
	return removeGroup(dirs)
}

// awaitReports waits until the daemon has heard each agent.
func (d *demo) awaitReports(ctx context.Context) error {
	if !d.opts.resources() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		silent, err := d.silent(ctx)
		if err == nil && silent == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("no report of backend %s", silent), err)
		case <-poll.C:
		}
	}
}

// silent is a backend of which no report has come, "" if there is none.
func (d *demo) silent(ctx context.Context) (string, error) {
	var w wire.Weights
	if err := d.daemon.get(ctx, "/v1/weights?pool="+url.QueryEscape(poolName), &w); err != nil {
		return "", err
	}
	for _, p := range w.Pools {
		for _, b := range p.Backends {
			if b.Agent == nil || b.Agent.Age == nil {
				return b.Backend.String(), nil
			}
		}
	}
	return "", nil
}

// burnOne burns the CPU of the first backend from a quarter of the demo to
// its half.
func (d *demo) burnOne(ctx context.Context) error {
	if !d.opts.resources() || !rest(ctx, d.opts.duration/4) {
		return nil
	}
	stop, err := burn(d.groups[0])
	if err != nil {
		return fmt.Errorf("burning the CPU of a backend: %w", err)
	}
	d.trouble.Store(new("burning the CPU of backend " + d.servers[0].endpoint.String()))
	rest(ctx, d.opts.duration/4)
	d.trouble.Store(new("its CPU is idle again"))
	return stop()
}

// rest reports whether ctx lasted.
func rest(ctx context.Context, t time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(t):
		return true
	}
}

// burn starts a process that is in the group before it works.
func burn(dirs []string) (stop func() error, err error) {
	cmd := exec.Command("/bin/sh", "-c", "read start; while :; do :; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	start, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	stop = func() error {
		err := cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return err
	}
	for _, dir := range dirs {
		err = errors.Join(err, write(dir+"/cgroup.procs", strconv.Itoa(cmd.Process.Pid)))
	}
	if _, writeErr := fmt.Fprintln(start); err != nil || writeErr != nil {
		return nil, errors.Join(err, writeErr, stop())
	}
	return stop, nil
}
