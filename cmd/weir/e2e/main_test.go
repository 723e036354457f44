// Package e2e tests the real binary end to end: its daemon balances real
// connections between network namespaces, and its verbs steer it.
//
// WEIR_BINARY names a binary to test in place of one built here, WEIR_LONG=1
// asks for the long forms of the tests that repeat or wait.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"weir/loader/netlab"
)

// Fixed places, so that the next run finds what a killed one left.
const (
	prefix   = "weir-e2e" // of the namespaces
	runDir   = "/run/weir-e2e"
	lockPath = "/run/weir-e2e.lock"
	pinDir   = "/sys/fs/bpf/weir-e2e"
	weirPath = runDir + "/weir"
)

func TestMain(m *testing.M) {
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "e2e: skipped: namespaces and programs in the kernel need root")
		return 0, nil
	}
	lock, err := takeLock()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, removeAll(), lock.Close()) }()
	// Else each verb, too, waits a second at its end for more races to show.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		return 0, err
	}
	if err := errors.Join(removeAll(), os.MkdirAll(runDir, 0o755), placeBinary()); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// takeLock waits for its turn: one run at a time.
func takeLock() (*os.File, error) {
	f, err := os.OpenFile(lockPath, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", lockPath, err), f.Close())
	}
	return f, nil
}

// removeAll removes what a run leaves if it is killed. Its daemons die with it.
func removeAll() error {
	_, err := netlab.Cleanup(prefix)
	return errors.Join(err, removePins(pinDir), removePins(otherPins), os.RemoveAll(runDir))
}

// removePins lets go of maps, links and with them of the program.
func removePins(dir string) error {
	for _, sub := range []string{"links/*", "maps/*", "links", "maps", "program", ""} {
		paths, err := filepath.Glob(filepath.Join(dir, sub))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("removing a pin: %w", err)
			}
		}
	}
	return nil
}

// placeBinary puts the binary where every user can run it.
func placeBinary() error {
	if given := os.Getenv("WEIR_BINARY"); given != "" {
		binary, err := os.ReadFile(given)
		if err == nil {
			err = os.WriteFile(weirPath, binary, 0o755)
		}
		if err != nil {
			return fmt.Errorf("copying WEIR_BINARY: %w", err)
		}
		return nil
	}
	args := []string{"build", "-buildvcs=false", "-o", weirPath}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "weir/cmd/weir")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the binary: %w\n%s", err, out)
	}
	return nil
}

// long tells whether the long forms are asked for.
func long() bool { return os.Getenv("WEIR_LONG") == "1" }

// either is the long or the short form of a number.
func either[T any](longForm, shortForm T) T {
	if long() {
		return longForm
	}
	return shortForm
}
