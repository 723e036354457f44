package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/doctor"
)

// Where the other end of a veth may be: named namespaces, and init's.
const (
	namedNetworks = "/run/netns"
	initNetwork   = "/proc/1/ns/net"
)

const sameNetwork = -1 // IFLA_LINK_NETNSID is not there

// peerOf finds the other end of a veth and asks its driver. The zero value
// means that it is not one, or is where it cannot be found.
func peerOf(a *netlink.LinkAttrs, driver string) doctor.Peer {
	if driver != "veth" || a.ParentIndex == 0 {
		return doctor.Peer{}
	}
	if a.NetNsID == sameNetwork {
		p, _ := peerAt(a.ParentIndex)
		return p
	}
	named, _ := filepath.Glob(namedNetworks + "/*") // only a bad pattern fails
	for _, path := range append(named, initNetwork) {
		if p, ok := peerIn(path, a.NetNsID, a.ParentIndex); ok {
			return p
		}
	}
	return doctor.Peer{}
}

// peerIn is false if the namespace at a path is not the one with an id.
func peerIn(path string, id, index int) (doctor.Peer, bool) {
	f, err := os.Open(path)
	if err != nil {
		return doctor.Peer{}, false
	}
	defer f.Close()
	if its, err := netlink.GetNetNsIdByFd(int(f.Fd())); err != nil || its != id {
		return doctor.Peer{}, false
	}
	var p doctor.Peer
	err = inNetwork(f, func() (err error) {
		p, err = peerAt(index)
		return err
	})
	p.Enter = "nsenter --net=" + path + " "
	return p, err == nil
}

// peerAt asks about an interface of this thread's namespace.
func peerAt(index int) (doctor.Peer, error) {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return doctor.Peer{}, fmt.Errorf("interface %d: %w", index, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return doctor.Peer{}, fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	tx := ethtoolValue{cmd: unix.ETHTOOL_GTXCSUM}
	err = ethtool(fd, l.Attrs().Name, unsafe.Pointer(&tx))
	return doctor.Peer{Name: l.Attrs().Name, PartialChecksums: tx.data != 0}, err
}

// inNetwork runs f on a thread inside a namespace. A thread that cannot return
// ends with its goroutine.
func inNetwork(network *os.File, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			result <- err
			return
		}
		defer home.Close()
		err = unix.Setns(int(network.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET)
		if back == nil {
			runtime.UnlockOSThread()
		}
		result <- errors.Join(err, back)
	}()
	return <-result
}
