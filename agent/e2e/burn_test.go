package e2e

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// burned is a control group with a fifth of a CPU and a process that uses it.
type burned struct {
	t    *testing.T
	path string
	cmd  *exec.Cmd
}

// groupName is fixed, so that the next run finds what a killed one left.
const groupName = "weir-agent-e2e"

// burnedGroup makes the group in whichever version this host has for CPU.
func burnedGroup(t *testing.T) *burned {
	t.Helper()
	b := &burned{t: t, path: "/" + groupName}
	var dirs []string
	if text, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers"); err == nil && strings.Contains(string(text), "cpu") {
		dirs = []string{"/sys/fs/cgroup/" + groupName}
		b.write("/sys/fs/cgroup/cgroup.subtree_control", "+cpu +memory +io")
		b.make(dirs[0])
		b.write(dirs[0]+"/cpu.max", "20000 100000")
	} else {
		for _, controller := range []string{"cpu", "cpuacct", "memory", "blkio"} {
			dir, err := filepath.EvalSymlinks("/sys/fs/cgroup/" + controller)
			if err != nil {
				t.Skip("this host has no control groups for CPU: ", err)
			}
			b.make(dir + "/" + groupName)
			dirs = append(dirs, dir+"/"+groupName)
		}
		b.write(dirs[0]+"/cpu.cfs_period_us", "100000")
		b.write(dirs[0]+"/cpu.cfs_quota_us", "20000")
	}
	b.burn(dirs)
	return b
}

func (b *burned) make(dir string) {
	b.t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		b.t.Skip("control groups cannot be made here: ", err)
	}
	b.t.Cleanup(func() {
		if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			b.t.Error(err)
		}
	})
}

func (b *burned) write(path, text string) {
	b.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// burnEnv makes the test binary a process that uses CPU.
const burnEnv = "WEIR_AGENT_E2E_BURN"

// burnWhenTold waits for the end of its input and then never ends.
func burnWhenTold() {
	io.Copy(io.Discard, os.Stdin)
	for n := uint64(1); n != 0; n += 2 { // stays odd
	}
}

// burn starts a process that is in the groups before it works.
func (b *burned) burn(dirs []string) {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	b.cmd = exec.Command(self)
	b.cmd.Env = append(os.Environ(), burnEnv+"=1")
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start, err := b.cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(b.rest)
	for _, dir := range dirs {
		b.write(dir+"/cgroup.procs", strconv.Itoa(b.cmd.Process.Pid))
	}
	start.Close()
}

// rest ends the process.
func (b *burned) rest() {
	if b.cmd.ProcessState == nil {
		b.cmd.Process.Kill()
		b.cmd.Wait()
	}
}
