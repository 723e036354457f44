package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"weir/loader/netlab"
)

// lock makes sure that one demo runs at a time.
type lock struct{ file *os.File }

// takeLock refuses if another demo holds it. The file is removed on release,
// so one that was opened before and locked after a removal is tried again.
func takeLock() (*lock, error) {
	for {
		f, err := os.OpenFile(lockPath, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening the demo's lock: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if err == unix.EWOULDBLOCK {
				return nil, fmt.Errorf("another weir demo is running (it holds %s); wait for it or stop it", lockPath)
			}
			return nil, fmt.Errorf("locking %s: %w", lockPath, err)
		}
		if sameFile(f, lockPath) {
			return &lock{f}, nil
		}
		f.Close()
	}
}

func sameFile(f *os.File, path string) bool {
	opened, err1 := f.Stat()
	named, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(opened, named)
}

func (l *lock) release() error { return errors.Join(os.Remove(lockPath), l.file.Close()) }

// removeLeftovers removes what a crashed demo left: its daemon, the program
// and pins, namespaces and files. Having nothing to remove is usual.
func removeLeftovers() error {
	if err := endDaemons(); err != nil {
		return fmt.Errorf("ending the daemon of an earlier demo: %w", err)
	}
	_, err := netlab.Cleanup(prefix)
	return errors.Join(err, removePins(), removeGroups(), removeRunDir())
}

func removeRunDir() error {
	if err := os.RemoveAll(runDir); err != nil {
		return fmt.Errorf("removing %s: %w", runDir, err)
	}
	return nil
}

// removePins unloads the demo's program and maps, whoever created them.
func removePins() error {
	if _, err := os.Stat(pinDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	out, err := exec.Command(self, "unload", "--pin-dir", pinDir).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("unloading %s: %w: %s", pinDir, err, bytes.TrimSpace(out))
	}
	// Nobody else may pin there. Without its last pin a program goes.
	if remove := os.RemoveAll(pinDir); remove == nil {
		return nil
	}
	return err
}

// endDaemons ends every `weir run` with the demo's configuration: the one that
// a crashed demo started, and one that its user started in its place.
func endDaemons() error {
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	var errs []error
	for _, dir := range procs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if isDemoDaemon(pid) {
			errs = append(errs, endDaemon(pid))
		}
	}
	return errors.Join(errs...)
}

func isDemoDaemon(pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := bytes.Split(bytes.TrimSuffix(line, []byte{0}), []byte{0})
	is := func(want string) func([]byte) bool {
		return func(arg []byte) bool { return string(arg) == want }
	}
	return len(args) > 1 && string(args[1]) == "run" && slices.ContainsFunc(args[2:], is(configPath))
}

// endDaemon looks again once it holds the process by a descriptor, which no
// later process of the same id can be behind.
func endDaemon(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if !isDemoDaemon(pid) {
		return nil
	}
	for _, signal := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, signal, nil, 0); err == unix.ESRCH {
			return nil
		} else if err != nil {
			return fmt.Errorf("ending process %d: %w", pid, err)
		}
		if ended(fd, stopTimeout) {
			return nil
		}
	}
	return fmt.Errorf("process %d does not end", pid)
}

// ended waits for the process behind a descriptor, which is then readable.
func ended(pidfd int, timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	for {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(max(0, time.Until(deadline)).Milliseconds()))
		if err != unix.EINTR {
			return err == nil && n == 1
		}
	}
}
