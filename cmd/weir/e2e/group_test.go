package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// group is the control group that a backend's load is measured in: a fifth of a
// CPU and 64 MiB, so that filling it costs this host little.
type group struct {
	*testing.T
	name string
	dirs []string // of each controller, or the one of version 2
}

const groupMemory = 64 << 20

// newGroup makes one in whichever version this host has; it goes with the test.
func newGroup(t *testing.T, name string) *group {
	t.Helper()
	g := &group{T: t, name: name}
	if text, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil && strings.Contains(string(text), "cpu") {
		g.write("/sys/fs/cgroup/cgroup.subtree_control", "+cpu +memory +io")
		g.make("/sys/fs/cgroup/" + name)
		g.write(g.dirs[0]+"/cpu.max", "20000 100000")
		g.write(g.dirs[0]+"/memory.max", strconv.Itoa(groupMemory))
		return g
	}
	for _, controller := range []string{"cpu", "cpuacct", "memory", "blkio"} {
		dir, err := filepath.EvalSymlinks("/sys/fs/cgroup/" + controller)
		if err != nil {
			t.Skip("this host has no control groups: ", err)
		}
		g.make(dir + "/" + name)
	}
	g.write(g.dirs[0]+"/cpu.cfs_period_us", "100000")
	g.write(g.dirs[0]+"/cpu.cfs_quota_us", "20000")
	g.write(g.dirs[2]+"/memory.limit_in_bytes", strconv.Itoa(groupMemory))
	g.countRequests(g.dirs[3])
	return g
}

// countRequests sets a limit that is never reached: without any, version 1
// counts no requests (Linux 6.9).
func (g *group) countRequests(blkio string) {
	var st unix.Stat_t
	if err := unix.Stat(churned, &st); err != nil {
		g.Fatal(err)
	}
	limit := fmt.Sprintf("%d:%d 1000000", unix.Major(st.Dev), unix.Minor(st.Dev))
	_ = os.WriteFile(blkio+"/blkio.throttle.write_iops_device", []byte(limit), 0o644) // partitions have none
}

// churned is a directory on a disk.
const churned = "/var/tmp"

func (g *group) make(dir string) {
	g.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		g.Skip("control groups cannot be made here: ", err)
	}
	g.dirs = append(g.dirs, dir)
	g.Cleanup(func() {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			g.Error(err)
		}
	})
}

func (g *group) write(path, text string) {
	g.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		g.Fatal(err)
	}
}

// run starts a script that is in the group before it works, and gives what ends
// it.
func (g *group) run(script string) (stop func()) {
	g.Helper()
	cmd := exec.Command("/bin/sh", "-c", "read start; "+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	start, err := cmd.StdinPipe()
	if err != nil {
		g.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		g.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
		}
	}
	g.Cleanup(stop)
	for _, dir := range g.dirs {
		g.write(dir+"/cgroup.procs", strconv.Itoa(cmd.Process.Pid))
	}
	if _, err := fmt.Fprintln(start); err != nil {
		g.Fatal(err)
	}
	return stop
}

// burn uses all the CPU that the group may have.
func (g *group) burn() (stop func()) { return g.run("while :; do :; done") }

// fill uses 61 of its 64 MiB of memory.
func (g *group) fill() (stop func()) {
	name := "/dev/shm/" + g.name
	g.Cleanup(func() { _ = os.Remove(name) })
	end := g.run("head -c 61M /dev/zero >" + name + "; while :; do sleep 1; done")
	return func() { end(); _ = os.Remove(name) }
}

// churn writes to a disk, again and again, beside all caches.
func (g *group) churn() (stop func()) {
	name := churned + "/" + g.name
	g.Cleanup(func() { _ = os.Remove(name) })
	return g.run("while :; do dd if=/dev/zero of=" + name + " bs=4096 count=500 oflag=direct,sync conv=notrunc 2>/dev/null; sleep 0.1; done")
}
