// Package netlab builds small networks out of network namespaces: clients, a
// balancer and backends joined by one bridge. The demo, the benchmarks and the
// end-to-end tests run on it. It needs root and talks to the kernel itself: no
// program has to be installed.
package netlab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// NetnsDir is where named namespaces live, as ip-netns(8) has it, so that
// `ip netns exec` finds them.
const NetnsDir = "/run/netns"

const threadNetns = "/proc/thread-self/ns/net"

// NS is one named network namespace. Its methods may be called from any
// goroutine at any time.
type NS struct {
	Name string
	file *os.File
}

// CreateNS makes an empty namespace, with its loopback interface down, and
// gives it a name. A name in use is an error.
func CreateNS(name string) (*NS, error) {
	if err := prepareNetnsDir(); err != nil {
		return nil, err
	}
	path := filepath.Join(NetnsDir, name)
	mark, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return nil, fmt.Errorf("creating namespace %s: %w", name, err)
	}
	mark.Close()
	err = onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		return unix.Mount(threadNetns, path, "none", unix.MS_BIND, "")
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("creating namespace %s: %w", name, err), os.Remove(path))
	}
	return OpenNS(name)
}

// OpenNS finds a namespace by name.
func OpenNS(name string) (*NS, error) {
	file, err := os.Open(filepath.Join(NetnsDir, name))
	if err != nil {
		return nil, fmt.Errorf("opening namespace: %w", err)
	}
	return &NS{Name: name, file: file}, nil
}

// Do runs f on a thread of its own inside the namespace and returns f's error.
// Sockets that f creates stay in the namespace after it returns; goroutines
// that f starts are not in it. A panic of f is passed on to the caller.
func (n *NS) Do(f func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering namespace %s: %w", n.Name, err)
		}
		return f()
	})
}

// Start starts a command inside the namespace. File systems are the caller's,
// unlike under `ip netns exec`, which hides /sys/fs/bpf.
func (n *NS) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Listen is net.Listen inside the namespace.
func (n *NS) Listen(network, address string) (l net.Listener, err error) {
	err = n.Do(func() (err error) {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// DialContext dials a literal address from inside the namespace. It fits
// http.Transport.
func (n *NS) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = n.Do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

// Delete removes the name. The kernel removes the namespace and its interfaces
// once no process and no socket is left in it.
func (n *NS) Delete() error {
	return errors.Join(n.file.Close(), deleteName(n.Name))
}

func deleteName(name string) error {
	path := filepath.Join(NetnsDir, name)
	err := unix.Unmount(path, unix.MNT_DETACH)
	// EINVAL: not a mount; a crash came between creating file and mount.
	if err != nil && err != unix.EINVAL && err != unix.ENOENT {
		return fmt.Errorf("unmounting namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing namespace: %w", err)
	}
	return nil
}

// onOwnThread runs f in a goroutine locked to its thread and gives the thread
// back its namespace. If that fails the thread stays locked and ends with the
// goroutine, so that no other goroutine ever runs in the wrong namespace.
func onOwnThread(f func() error) error {
	var err error
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = errors.New("goroutine ended before its work in the namespace")
		defer func() {
			if p := recover(); p != nil {
				panicked = p
			}
		}()
		err = onLockedThread(f)
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return err
}

func onLockedThread(f func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(threadNetns)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("opening own namespace: %w", err)
	}
	defer home.Close()
	defer func() {
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return f()
}

// prepareNetnsDir makes NetnsDir a shared mount point, as ip-netns(8) does, so
// that names appear in every mount namespace.
func prepareNetnsDir() error {
	if err := os.MkdirAll(NetnsDir, 0o755); err != nil {
		return fmt.Errorf("creating %s: %w", NetnsDir, err)
	}
	err := unix.Mount("", NetnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if err == unix.EINVAL { // not a mount point yet
		if err = unix.Mount(NetnsDir, NetnsDir, "none", unix.MS_BIND|unix.MS_REC, ""); err == nil {
			err = unix.Mount("", NetnsDir, "none", unix.MS_SHARED|unix.MS_REC, "")
		}
	}
	if err != nil {
		return fmt.Errorf("mounting %s: %w", NetnsDir, err)
	}
	return nil
}
