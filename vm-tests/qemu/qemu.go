// Package qemu runs virtual machines that boot a kernel and an initial file
// system, work by themselves and power off.
package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Program is the emulator, of Debian's package qemu-system-x86.
const Program = "qemu-system-x86_64"

// Machine is one virtual machine.
type Machine struct {
	Accel     Accel
	Kernel    string   // path of the kernel's image
	Initrd    string   // path of the initial file system
	Args      []string // of the first process; no spaces or quotes
	CPUs      int
	MemoryMiB int
	NICs      []NIC
	Dir       string // gets console.log and results.log
}

// Output is what a machine left.
type Output struct {
	Console []byte // the kernel's messages, and init's own
	Results []byte // what was written to the guest's ResultsPort
	Elapsed time.Duration
}

// ResultsPort is where the guest writes results: the second serial port, as
// both of a PC's are built into every kernel.
const ResultsPort = "/dev/ttyS1"

const (
	consoleFile = "console.log"
	resultsFile = "results.log"
	// A crash ends the machine, since QEMU does not reboot it. Watchdogs
	// would take a slow machine for a stuck one.
	kernelArgs = "console=ttyS0 panic=-1 oops=panic nowatchdog mitigations=off loglevel=5"
)

// Run boots the machine and returns when it has ended. On error, with ctx's
// end among them, the output is what there was until then.
func (m Machine) Run(ctx context.Context) (Output, error) {
	// The kernel ends QEMU when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	args := m.args()
	cmd := exec.CommandContext(ctx, "nice", append([]string{"-n", "10", Program}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &complaints, &complaints
	began := time.Now()
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("the machine did not end within %s: %w", time.Since(began).Round(time.Second), ctx.Err())
	case errors.Is(err, exec.ErrNotFound):
		err = fmt.Errorf("%w: install Debian's package qemu-system-x86", err)
	case err != nil:
		err = fmt.Errorf("%s %s: %w: %s", Program, strings.Join(args, " "), err, bytes.TrimSpace(complaints.Bytes()))
	}
	out := Output{Elapsed: time.Since(began)}
	return out, errors.Join(err, out.read(m.Dir))
}

func (o *Output) read(dir string) (err error) {
	var errConsole, errResults error
	o.Console, errConsole = os.ReadFile(filepath.Join(dir, consoleFile))
	o.Results, errResults = os.ReadFile(filepath.Join(dir, resultsFile))
	return errors.Join(errConsole, errResults)
}

func (m Machine) args() []string {
	args := append(m.Accel.args(),
		"-machine", "q35", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-smp", strconv.Itoa(m.CPUs), "-m", strconv.Itoa(m.MemoryMiB),
		"-kernel", m.Kernel, "-initrd", m.Initrd,
		"-append", strings.Join(append([]string{kernelArgs, "--"}, m.Args...), " "),
		"-serial", "file:"+filepath.Join(m.Dir, consoleFile),
		"-serial", "file:"+filepath.Join(m.Dir, resultsFile),
	)
	for i, nic := range m.NICs {
		args = append(args, nic.args(i)...)
	}
	return args
}
