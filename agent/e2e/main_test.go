// Package e2e tests backends that `weir agent dsr` sets up with packets that
// `weir run` sends, between network namespaces, and `weir agent run` as
// balancers see it.
//
// WEIR_BINARY names a binary to test in place of one built here.
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
	prefix = "weir-agent-e2e" // of the namespaces
	runDir = "/run/weir-agent-e2e"
	weir   = runDir + "/weir"
	pins   = "/sys/fs/bpf/weir-agent-e2e"
)

func TestMain(m *testing.M) {
	if os.Getenv(burnEnv) != "" {
		burnWhenTold()
	}
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "agent/e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "agent/e2e: skipped: namespaces and programs in the kernel need root")
		return 0, nil
	}
	lock, err := os.OpenFile(runDir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil { // one run at a time
		return 0, err
	}
	defer func() { err = errors.Join(err, removeAll()) }()
	if err := errors.Join(removeAll(), os.MkdirAll(runDir, 0o755), placeBinary()); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// removeAll removes what a run leaves if it is killed. Its processes die with
// it.
func removeAll() error {
	_, err := netlab.Cleanup(prefix)
	return errors.Join(err, os.RemoveAll(pins), os.RemoveAll(runDir))
}

func placeBinary() error {
	if given := os.Getenv("WEIR_BINARY"); given != "" {
		path, err := filepath.Abs(given)
		if err != nil {
			return err
		}
		return os.Symlink(path, weir)
	}
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", weir, "weir/cmd/weir").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the binary: %w\n%s", err, out)
	}
	return nil
}
