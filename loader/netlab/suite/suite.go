// Package suite runs the tests of a package that needs root, network namespaces
// and the binary.
package suite

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"weir/loader/netlab"
)

// Suite is where such tests keep what is theirs: fixed places, so that the next
// run finds what a killed one left.
type Suite struct {
	Prefix string   // of the namespaces
	Dir    string   // removed at the end; Dir.lock is held meanwhile
	Binary string   // where the binary is put, every user can run it there
	Pins   []string // patterns of directories of pins
	Race   bool     // the binary looks for races
}

// Main runs tests and gives the code to exit with. One run goes on at a time;
// without root there is none, which is no failure. WEIR_BINARY names a binary to
// test in place of one built here.
func (s Suite) Main(run func() int) int {
	code, err := s.main(run)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.Prefix, err)
		return 1
	}
	return code
}

func (s Suite) main(run func() int) (code int, err error) {
	if os.Geteuid() != 0 {
		fmt.Fprintf(os.Stderr, "%s: skipped: namespaces and programs in the kernel need root\n", s.Prefix)
		return 0, nil
	}
	lock, err := takeLock(s.Dir + ".lock")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.clean(), lock.Close()) }()
	if err := errors.Join(s.clean(), os.MkdirAll(s.Dir, 0o755), s.placeBinary()); err != nil {
		return 0, err
	}
	return run(), nil
}

func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return f, nil
}

// clean removes what a run leaves if it is killed. Its processes die with it.
func (s Suite) clean() error {
	_, err := netlab.Cleanup(s.Prefix)
	for _, pattern := range s.Pins {
		dirs, errGlob := filepath.Glob(pattern)
		err = errors.Join(err, errGlob)
		for _, dir := range dirs {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return errors.Join(err, os.RemoveAll(s.Dir))
}

func (s Suite) placeBinary() error {
	if given := os.Getenv("WEIR_BINARY"); given != "" {
		binary, err := os.ReadFile(given)
		if err == nil {
			err = os.WriteFile(s.Binary, binary, 0o755)
		}
		if err != nil {
			return fmt.Errorf("copying WEIR_BINARY: %w", err)
		}
		return nil
	}
	args := []string{"build", "-buildvcs=false", "-o", s.Binary}
	if s.Race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "weir/cmd/weir")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the binary: %w\n%s", err, out)
	}
	return nil
}
