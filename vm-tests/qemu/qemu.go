// Package qemu runs virtual machines that boot a kernel and an initial file
// system, work by themselves and power off.
package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	// Boot is how long it may take to its first result, from power on. 0 is
	// as long as the machine may take.
	Boot time.Duration
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

// ErrSilent is of a machine that wrote no result in the time for its boot.
var ErrSilent = errors.New("no result in the time for the boot")

// Run boots the machine and returns when it has ended. On error, with ctx's
// end among them, the output is what there was until then.
func (m Machine) Run(ctx context.Context) (Output, error) {
	// The kernel ends QEMU when the thread that started it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := m.removeOutput(); err != nil {
		return Output{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if m.Boot > 0 {
		defer time.AfterFunc(m.Boot, func() { m.giveUp(cancel) }).Stop()
	}
	args := m.args()
	cmd := exec.CommandContext(ctx, "nice", append([]string{"-n", "10", Program}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &complaints, &complaints
	began := time.Now()
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("the machine did not end within %s: %w", time.Since(began).Round(time.Second), context.Cause(ctx))
	case errors.Is(err, exec.ErrNotFound):
		err = fmt.Errorf("%w: install Debian's package qemu-system-x86", err)
	case err != nil:
		err = fmt.Errorf("%s %s: %w: %s", Program, strings.Join(args, " "), err, bytes.TrimSpace(complaints.Bytes()))
	}
	out := Output{Elapsed: time.Since(began)}
	return out, errors.Join(err, out.read(m.Dir))
}

// removeOutput removes what an earlier machine left.
func (m Machine) removeOutput() error {
	for _, name := range []string{consoleFile, resultsFile} {
		if err := os.Remove(filepath.Join(m.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// giveUp ends a machine that has written nothing.
func (m Machine) giveUp(cancel context.CancelCauseFunc) {
	if file, err := os.Stat(filepath.Join(m.Dir, resultsFile)); err != nil || file.Size() == 0 {
		cancel(ErrSilent)
	}
}

func (o *Output) read(dir string) (err error) {
	var errConsole, errResults error
	o.Console, errConsole = readIfAny(filepath.Join(dir, consoleFile))
	o.Results, errResults = readIfAny(filepath.Join(dir, resultsFile))
	return errors.Join(errConsole, errResults)
}

// readIfAny reads a file that QEMU makes, if it has come so far.
func readIfAny(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
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
