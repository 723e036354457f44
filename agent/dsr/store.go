package dsr

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// state is what was, or is about to be, changed on a host. Each part can be
// taken back whether or not it was done.
type state struct {
	PID     int          `json:"pid"`
	VIPs    []netip.Addr `json:"vips"` // added to the loopback interface
	Sysctls []sysctl     `json:"sysctls"`
}

func (s state) empty() bool { return len(s.VIPs) == 0 && len(s.Sysctls) == 0 }

// store keeps the state of one network namespace, for one process at a time.
type store struct {
	path string
	lock *os.File
}

// openStore takes the namespace's lock; a process that holds it is named.
func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating the state directory: %w", err)
	}
	cookie, err := namespaceCookie()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "dsr-"+strconv.FormatUint(cookie, 10))
	s := &store{path: path + ".json"}
	if s.lock, err = takeLock(path + ".lock"); errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("weir agent dsr already runs here%s: end it first, it takes everything back", s.owner())
	}
	return s, err
}

// namespaceCookie is a number that no other network namespace has until the
// next boot, unlike an inode's (Linux 5.14).
func namespaceCookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("opening a socket: %w", err)
	}
	defer unix.Close(fd)
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0, fmt.Errorf("telling network namespaces apart (needs Linux 5.14): %w", err)
	}
	return cookie, nil
}

// takeLock locks a file that its holder removes: one that was opened before
// the removal and locked after it is tried again.
func takeLock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening the lock: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
		}
		opened, err1 := f.Stat()
		named, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(opened, named) {
			return f, nil
		}
		f.Close()
	}
}

// owner names the process that keeps state here, if it says.
func (s *store) owner() string {
	if left, err := s.load(); err == nil && left.PID != 0 {
		return fmt.Sprintf(" (pid %d)", left.PID)
	}
	return ""
}

// load reads what was saved last; nothing was is no error.
func (s *store) load() (left state, err error) {
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, fmt.Errorf("reading the state: %w", err)
	}
	if err := json.Unmarshal(text, &left); err != nil {
		return state{}, fmt.Errorf("reading the state %s: %w: take back by hand what it names, and remove it", s.path, err)
	}
	return left, nil
}

// save replaces the state; a crash leaves the old or the new.
func (s *store) save(now state) error {
	now.PID = os.Getpid()
	text, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	aside := s.path + ".new"
	if err := os.WriteFile(aside, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	if err := os.Rename(aside, s.path); err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	return nil
}

// clear forgets the state.
func (s *store) clear() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the state: %w", err)
	}
	return nil
}

// close gives the lock back.
func (s *store) close() error { return errors.Join(os.Remove(s.lock.Name()), s.lock.Close()) }
