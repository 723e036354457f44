package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf/link"

	"weir/loader/lb"
)

// Pinned is what a pin directory holds.
type Pinned struct {
	Found bool // the directory exists
	Held  bool // a daemon has locked it
	// Refusal is why a daemon of this version and configuration would not
	// adopt the maps; nil if it would, or if nothing is pinned.
	Refusal error
	Limits  lb.Limits             // of the maps
	Links   map[string]PinnedLink // by interface name
}

// PinnedLink is the attachment of one interface.
type PinnedLink struct {
	Interface int // index; 0 if that interface is gone
	Program   uint32
}

// Inspect looks at the pins of a configuration and changes nothing. A daemon
// that starts in the same instant may have to try again for their lock.
func Inspect(c lb.Config) (Pinned, error) {
	if _, err := os.Stat(c.PinDir); errors.Is(err, fs.ErrNotExist) {
		return Pinned{}, nil
	} else if err != nil {
		return Pinned{}, fmt.Errorf("pin directory: %w", err)
	}
	p := Pinned{Found: true, Links: map[string]PinnedLink{}}
	lock, err := lockDir(c.PinDir)
	switch {
	case errors.Is(err, ErrInUse):
		p.Held = true
	case err != nil:
		return p, err
	default:
		lock.Close()
	}
	d := &DataPlane{config: c}
	p.Refusal = errors.Join(d.openPinned(c.PinDir), d.maps.Close())
	p.Limits = d.limits
	for _, pin := range entries(filepath.Join(c.PinDir, linksDir)) {
		l, err := inspectLink(filepath.Join(c.PinDir, linksDir, pin))
		if err != nil {
			return p, err
		}
		p.Links[pinUnescaper.Replace(pin)] = l
	}
	return p, nil
}

func inspectLink(path string) (PinnedLink, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return PinnedLink{}, fmt.Errorf("open pinned link %s: %w", path, err)
	}
	defer l.Close()
	info, err := l.Info()
	if err != nil {
		return PinnedLink{}, fmt.Errorf("read pinned link %s: %w", path, err)
	}
	out := PinnedLink{Program: uint32(info.Program)}
	if x := info.XDP(); x != nil {
		out.Interface = int(x.Ifindex)
	}
	return out, nil
}
