package guest

import (
	"fmt"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	return nil
}

// openPort opens a serial port that passes bytes on as they are.
func openPort(path string) (*os.File, error) {
	port, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("open the results' port: %w", err)
	}
	settings, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err == nil {
		settings.Oflag &^= unix.OPOST
		err = unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, settings)
	}
	if err != nil {
		return nil, fmt.Errorf("set %s to raw: %w", path, err)
	}
	return port, nil
}

// drain waits until a port has sent all, as tcdrain(3) does.
func drain(port *os.File) { _ = unix.IoctlSetInt(int(port.Fd()), unix.TCSBRK, 1) }

// runTests starts Tests, or this program again, with the machine's arguments, and returns
// the status it ends with: 128 and more for a signal, as shells have it. Other
// children are those that lost their parents.
func runTests(output *os.File) (int, error) {
	program := Tests
	if _, err := os.Stat(program); err != nil {
		program = "/proc/self/exe"
	}
	child, err := syscall.ForkExec(program, os.Args, &syscall.ProcAttr{
		Env: []string{
			insideEnv + "=1", "WEIR_BINARY=" + Weir,
			"PATH=/bin", "HOME=/tmp", "TMPDIR=/tmp", "GOTRACEBACK=all",
		},
		Files: []uintptr{0, output.Fd(), output.Fd()},
	})
	if err != nil {
		return 0, fmt.Errorf("start the tests: %w", err)
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, fmt.Errorf("wait for the tests: %w", err)
		case pid == child && status.Signaled():
			return 128 + int(status.Signal()), nil
		case pid == child:
			return status.ExitStatus(), nil
		}
	}
}
