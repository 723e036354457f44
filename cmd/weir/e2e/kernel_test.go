package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/netlab"
)

// kernelState is what must not change when a start is refused: the ids behind
// all pins and the program on the balancer's NIC (0: none).
type kernelState struct {
	pins    map[string]uint32
	program uint32
}

func (l *lab) kernelState(t *testing.T) kernelState {
	t.Helper()
	s := kernelState{pins: map[string]uint32{}, program: l.programOn(t, netlab.NIC)}
	dirs, err := filepath.Glob(pinDir + "*") // those of unfinished starts, too
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				s.pins[path], err = pinnedID(path)
			} else if err == nil {
				s.pins[path] = 0
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s kernelState) equal(o kernelState) bool {
	return s.program == o.program && maps.Equal(s.pins, o.pins)
}

func pinnedID(path string) (uint32, error) {
	if filepath.Base(filepath.Dir(path)) == "links" {
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			return 0, err
		}
		defer l.Close()
		info, err := l.Info()
		if err != nil {
			return 0, err
		}
		return uint32(info.ID), nil
	}
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return 0, err
	}
	id, ok := info.ID()
	if !ok {
		return 0, fmt.Errorf("map %s has no id", path)
	}
	return uint32(id), nil
}

// programOn is the id of the XDP program on an interface of the balancer, 0 if
// there is none.
func (l *lab) programOn(t *testing.T, iface string) (id uint32) {
	t.Helper()
	err := l.Balancer.Do(func() error {
		nic, err := netlink.LinkByName(iface)
		if err == nil && nic.Attrs().Xdp != nil && nic.Attrs().Xdp.Attached {
			id = nic.Attrs().Xdp.ProgId
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// detachForeign removes a program that was attached without a link.
func (l *lab) detachForeign(t *testing.T, iface string) {
	t.Helper()
	err := l.Balancer.Do(func() error {
		nic, err := netlink.LinkByName(iface)
		if err != nil {
			return err
		}
		return netlink.LinkSetXdpFdWithFlags(nic, -1, unix.XDP_FLAGS_DRV_MODE)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnload(t *testing.T) {
	l := start(t, plan{})
	l.atWork(t, "before unload")
	loaded := status(t).DataPlane
	o, err := try("unload", "--pin-dir", pinDir)
	if err != nil || o.code != 1 {
		t.Errorf("unload under a daemon: exit code %d, %v: %s", o.code, err, o.stderr)
	}
	l.atWork(t, "after a refused unload")
	l.daemon.end(t, unix.SIGTERM)
	l.atWork(t, "without a daemon")

	weir(t, "unload", "--pin-dir", pinDir)
	if id := l.programOn(t, netlab.NIC); id != 0 {
		t.Errorf("program %d is still on %s", id, netlab.NIC)
	}
	if _, err := os.Stat(pinDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v, want it gone", pinDir, err)
	}
	for _, m := range loaded.Maps {
		eventually(t, 5*time.Second, "map "+m.Name+" freed", func() error { return freed(ebpf.MapID(m.ID)) })
	}
	l.checkNonVIP(t)
	if out := weir(t, "unload", "--pin-dir", pinDir); out != "nothing is loaded at "+pinDir+"\n" {
		t.Errorf("a second unload says %q", out)
	}
	l.run(t)
	l.atWork(t, "after a new start")
}

func freed(id ebpf.MapID) error {
	m, err := ebpf.NewMapFromID(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(errNotYet, m.Close())
	}
	return err
}
