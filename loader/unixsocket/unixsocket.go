// Package unixsocket makes the sockets that daemons take orders on.
package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// mode lets the owner and the group of the daemon talk to it.
const mode = 0o660

// maxPath is sun_path without its final zero byte (unix(7)).
const maxPath = 107

// Listen makes a socket at path, with mode 0660 from its first moment
// on, and its directory if it is missing. The socket of a daemon that died is
// replaced; that of one that runs is refused. Closing the listener removes it.
func Listen(path string) (net.Listener, error) {
	l, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

func listen(path string) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("path is %d bytes long, the kernel takes %d", len(path), maxPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	lock, err := lockSocket(path)
	if err != nil {
		return nil, err
	}
	l, err := replaceSocket(path)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &lockedListener{Listener: l, lock: lock}, nil
}

// lockSocket decides between two daemons that start at the same time. The
// lock goes with the process, however it ends.
func lockSocket(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := waitLock(f, path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// dyingTimeout is how long a killed daemon may need to give its files back.
const dyingTimeout = 3 * time.Second

// waitLock gives up at once if the holder of the lock answers on the socket.
func waitLock(f *os.File, path string) error {
	late := time.Now().Add(dyingTimeout)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if answers(path) || time.Now().After(late) {
			return errDaemonRuns
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func answers(path string) bool {
	conn, err := net.DialTimeout("unix", path, time.Second)
	return err == nil && conn.Close() == nil
}

var errDaemonRuns = errors.New("another daemon serves it: stop that one first, or give this one its own socket")

func replaceSocket(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The kernel takes the mode of a bound socket from that of its file
	// descriptor, less the umask: fchmod before bind leaves no moment with
	// wider permissions, and chmod after it only undoes the umask.
	conf := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmod error
		err := c.Control(func(fd uintptr) { chmod = unix.Fchmod(int(fd), mode) })
		return errors.Join(err, chmod)
	}}
	l, err := conf.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("exists and is not a socket; name another path, or remove it")
	}
	if answers(path) {
		return errDaemonRuns
	}
	return os.Remove(path)
}

type lockedListener struct {
	net.Listener
	lock *os.File
}

func (l *lockedListener) Close() error { return errors.Join(l.Listener.Close(), l.lock.Close()) }
