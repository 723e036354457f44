// Package guest makes a test binary the first process of a virtual machine: it
// mounts what programs expect, loads modules, runs the tests as its child and
// powers off. The child keeps a test that exits or panics from taking the
// machine with it before its output is out, and may be another package's.
package guest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/vm-tests/qemu"
	"weir/vm-tests/results"
)

const (
	// ModuleList names the modules to load, one path a line, in order.
	ModuleList = "/etc/modules"
	// Weir is the program under test.
	Weir = "/bin/weir"
	// Tests is the test binary to run if it is not this one.
	Tests = "/bin/tests"

	insideEnv = "WEIR_VM_GUEST" // set for the child
)

// Main is what TestMain of a package of tests for virtual machines calls. It
// does not return. On an ordinary host no test is run.
func Main(m *testing.M) {
	switch {
	case os.Getpid() == 1:
		boot()
	case os.Getenv(insideEnv) == "":
		fmt.Println("these tests run inside a virtual machine: make vm-smoke, make vm-test")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// boot is the life of the first process. Without the line that says how the
// tests ended the host takes the run as failed and shows the console.
func boot() {
	if err := live(); err != nil {
		fmt.Fprintln(os.Stderr, "weir-vm:", err)
	}
	drain(os.Stderr)
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Fprintln(os.Stderr, "weir-vm: power off:", err)
	os.Exit(1) // the kernel panics, which ends the machine
}

func live() error {
	if err := mountAll(); err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	port, err := openPort(qemu.ResultsPort)
	if err != nil {
		return err
	}
	code, err := runTests(port)
	if err != nil {
		return err
	}
	_, err = port.WriteString(results.EndLine(code))
	drain(port)
	return err
}

// mount is one file system.
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func mounts() []mount {
	const noExec = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return []mount{
		{"proc", "/proc", "proc", noExec, ""},
		{"sys", "/sys", "sysfs", noExec, ""},
		{"dev", "/dev", "devtmpfs", unix.MS_NOSUID, ""},
		{"run", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
		{"tmp", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"bpf", "/sys/fs/bpf", "bpf", noExec, "mode=0700"},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", noExec, ""},
		{"tracing", "/sys/kernel/tracing", "tracefs", noExec, ""},
	}
}

func mountAll() error {
	for _, m := range mounts() {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", m.target, err)
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err)
		}
	}
	return nil
}

// loadModules loads what ModuleList names; no list is no module.
func loadModules() error {
	list, err := os.Open(ModuleList)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the list of modules: %w", err)
	}
	defer list.Close()
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		if err := loadModule(lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

func loadModule(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("load a module: %w", err)
	}
	defer file.Close()
	if err := unix.FinitModule(int(file.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", strings.TrimSuffix(filepath.Base(path), ".ko"), err)
	}
	return nil
}
