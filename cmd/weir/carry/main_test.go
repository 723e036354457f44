// Package carry tests that every forwarding mode carries real HTTP and real UDP
// end to end, from clients through `weir run` to backends that have what they
// need from `weir agent dsr`: over good paths, lossy ones and narrow ones.
//
// What needs a part that the kernel may lack is skipped there, and runs in
// virtual machines (vm-tests/). WEIR_BINARY names a binary to test in place of
// one built here.
package carry

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
	prefix  = "weir-carry" // of the namespaces
	runDir  = "/run/weir-carry"
	weir    = runDir + "/weir"
	pinsDir = "/sys/fs/bpf/weir-carry" // and a number
)

func TestMain(m *testing.M) {
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "carry:", err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "carry: skipped: namespaces and programs in the kernel need root")
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
	pins, errGlob := filepath.Glob(pinsDir + "*")
	for _, dir := range pins {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return errors.Join(err, errGlob, os.RemoveAll(runDir))
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
