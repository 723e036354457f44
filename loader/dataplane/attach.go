package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weir/loader/lb"
)

// attachment is the program on one interface, through a pinned link.
type attachment struct {
	name  string
	path  string
	link  link.Link
	fresh bool // made, not adopted, by this process
}

// undo removes a link that this process made.
func (a *attachment) undo() {
	if a.fresh {
		_ = a.link.Unpin()
	}
}

// attachAll makes every configured interface run the loaded program: pinned
// links are updated in place, others made. On error the links that it made are
// removed.
func (d *DataPlane) attachAll() error {
	var made []*attachment
	for _, name := range d.attachOrder() {
		if d.links[name] != nil {
			continue
		}
		a, err := d.attach(name)
		if err != nil {
			for _, m := range made {
				m.undo()
				_ = m.link.Close()
				delete(d.links, m.name)
			}
			return err
		}
		d.links[name] = a
		if a.fresh {
			made = append(made, a)
		}
	}
	return nil
}

// attachOrder has the interfaces without a pinned link first. Those may be
// refused, and then no pinned link has been given another program yet.
func (d *DataPlane) attachOrder() []string {
	pinned := entries(filepath.Join(d.config.PinDir, linksDir))
	var first, last []string
	for _, name := range d.config.Interfaces {
		if slices.Contains(pinned, pinEscaper.Replace(name)) {
			last = append(last, name)
		} else {
			first = append(first, name)
		}
	}
	return slices.Concat(first, last)
}

func (d *DataPlane) attach(name string) (*attachment, error) {
	iface, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w: name an existing interface in `interfaces` (ip link show)", name, err)
	}
	path := linkPath(d.config.PinDir, name)
	if l, err := link.LoadPinnedLink(path, nil); err == nil {
		return d.adoptLink(name, path, l, iface.Attrs().Index)
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open pinned link %s: %w", path, err)
	}
	return d.newLink(name, path, iface)
}

// adoptLink puts the loaded program on a pinned link. A link whose interface
// was deleted and made again belongs to nothing: it is replaced.
func (d *DataPlane) adoptLink(name, path string, l link.Link, ifindex int) (*attachment, error) {
	info, err := l.Info()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read pinned link %s: %w", path, err), l.Close())
	}
	if x := info.XDP(); x == nil || int(x.Ifindex) != ifindex {
		if err := errors.Join(l.Unpin(), l.Close()); err != nil {
			return nil, fmt.Errorf("remove the link of a deleted interface %s: %w", name, err)
		}
		iface, err := netlink.LinkByName(name)
		if err != nil {
			return nil, fmt.Errorf("interface %q: %w", name, err)
		}
		return d.newLink(name, path, iface)
	}
	if err := l.Update(d.program.Weir); err != nil {
		return nil, errors.Join(fmt.Errorf("replace the program on %s: %w", name, err), l.Close())
	}
	return &attachment{name: name, path: path, link: l}, nil
}

func (d *DataPlane) newLink(name, path string, iface netlink.Link) (*attachment, error) {
	if x := iface.Attrs().Xdp; x != nil && x.Attached {
		return nil, fmt.Errorf("interface %s already runs another XDP program (id %d): stop its owner, or detach it with: ip link set dev %s xdp off", name, x.ProgId, name)
	}
	l, err := d.attachXDP(name, iface.Attrs().Index)
	if err != nil {
		return nil, err
	}
	if err := l.Pin(path); err != nil {
		return nil, errors.Join(fmt.Errorf("pin the link of %s: %w", name, err), l.Close())
	}
	return &attachment{name: name, path: path, link: l, fresh: true}, nil
}

// attachXDP tries native mode and, if the configuration allows it, generic.
func (d *DataPlane) attachXDP(name string, ifindex int) (link.Link, error) {
	try := func(flags link.XDPAttachFlags) (link.Link, error) {
		return link.AttachXDP(link.XDPOptions{Program: d.program.Weir, Interface: ifindex, Flags: flags})
	}
	if d.config.XDPMode == lb.XDPGeneric {
		l, err := try(link.XDPGenericMode)
		return l, attachError(name, err)
	}
	l, err := try(link.XDPDriverMode)
	if err != nil && d.config.XDPMode == lb.XDPAuto && !inUse(err) {
		refused := attachError(name, err)
		if l, err = try(link.XDPGenericMode); err == nil {
			d.log.Warn("native XDP was refused: using generic mode, which is several times slower", "interface", name, "error", refused)
		}
	}
	return l, attachError(name, err)
}

// inUse: another program is there, or a bond's slave has one.
func inUse(err error) bool { return errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST) }

func attachError(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case inUse(err):
		return fmt.Errorf("interface %s already runs another XDP program: stop its owner, or detach it with: ip link set dev %s xdp off", name, name)
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("the driver of %s has no native XDP: set xdp_mode: auto or generic: %w", name, err)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ERANGE):
		return fmt.Errorf("the driver of %s refuses the program (large MTU, LRO on, or too few queues: see the kernel log): %w", name, err)
	}
	return fmt.Errorf("attach to %s: %w", name, err)
}

// detachOthers removes the links of interfaces that are configured no more.
func (d *DataPlane) detachOthers() error {
	var errs []error
	for _, pin := range entries(filepath.Join(d.config.PinDir, linksDir)) {
		name := pinUnescaper.Replace(pin)
		if slices.Contains(d.config.Interfaces, name) {
			continue
		}
		if a := d.links[name]; a != nil {
			errs = append(errs, a.link.Close())
			delete(d.links, name)
		}
		errs = append(errs, removeLink(linkPath(d.config.PinDir, name)))
	}
	return errors.Join(errs...)
}
