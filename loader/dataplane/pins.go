package dataplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"weir/bpf"
)

const (
	layout      = uint32(bpf.WeirConstantLAYOUT)
	mapsDir     = "maps"
	linksDir    = "links"
	programPin  = "program"
	stagingName = "-new" // a bpf file system allows no dots in names
)

// ErrInUse means that a daemon holds the pin directory.
var ErrInUse = errors.New("another weir daemon is using it")

// lockDir takes the advisory lock that a daemon holds on its pin directory.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("pin directory %s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock pin directory %s: %w", dir, err)
	}
	return f, nil
}

// openMaps adopts the pinned maps or creates them.
func (d *DataPlane) openMaps() error {
	dir := d.config.PinDir
	if err := ensureBPFFS(dir); err != nil {
		return err
	}
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return d.createMaps(dir)
	}
	if err != nil {
		return fmt.Errorf("pin directory: %w", err)
	}
	return d.adoptMaps(dir)
}

// createMaps pins new maps in a staging directory; one rename commits, so the
// pin directory is never half there.
func (d *DataPlane) createMaps(dir string) (err error) {
	staging := dir + stagingName
	if _, err := removePins(staging); err != nil {
		return fmt.Errorf("remove what an interrupted start left: %w", err)
	}
	for _, sub := range []string{"", mapsDir, linksDir} {
		if err := os.Mkdir(filepath.Join(staging, sub), 0o700); err != nil {
			return fmt.Errorf("create pin directory: %w", err)
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.maps.Close())
			if d.lock != nil {
				err = errors.Join(err, d.lock.Close())
			}
			_, rmErr := removePins(staging)
			err = errors.Join(err, rmErr)
		}
	}()
	if d.lock, err = lockDir(staging); err != nil {
		return err
	}
	d.limits = d.config.Limits
	spec, err := d.spec()
	if err != nil {
		return err
	}
	if err := newMaps(spec, &d.maps); err != nil {
		return err
	}
	if err := errors.Join(d.writeNode(), d.writeSNATIndex()); err != nil {
		return err
	}
	for name, m := range mapsByName(&d.maps) {
		if err := m.Pin(filepath.Join(staging, mapsDir, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	if err := os.Rename(staging, dir); err != nil {
		return fmt.Errorf("commit pins to %s: %w", dir, err)
	}
	return nil
}

// newMaps creates the maps, and no program.
func newMaps(spec *ebpf.CollectionSpec, out *bpf.WeirMaps) error {
	slots := mapSlots(out)
	for name, slot := range slots {
		m, err := ebpf.NewMap(spec.Maps[name])
		if err != nil {
			return fmt.Errorf("create map %s of %d entries: %w", name, spec.Maps[name].MaxEntries, explain(err))
		}
		*slot = m
	}
	return nil
}

// adoptMaps opens the pinned maps and refuses any whose layout is not ours.
func (d *DataPlane) adoptMaps(dir string) (err error) {
	d.lock, err = lockDir(dir)
	if errors.Is(err, ErrInUse) {
		return fmt.Errorf("%w: stop it first, or give this one its own pin_dir", err)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.maps.Close(), d.lock.Close())
			d.lock = nil
		}
	}()
	if err := d.openPinned(dir); err != nil {
		return err
	}
	d.adopted = true
	return nil
}

// openPinned opens the pinned maps if they are such as this data plane would
// create for limits that are not below those it needs. On error some are open.
func (d *DataPlane) openPinned(dir string) error {
	for name, slot := range mapSlots(&d.maps) {
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, mapsDir, name), nil)
		if err != nil {
			return fmt.Errorf("adopt pinned map %s in %s: %w; the running program is left as it is. To start anew, losing flows and counters: weir unload --pin-dir %s", name, dir, err, dir)
		}
		*slot = m
	}
	d.limits = limitsOf(&d.maps)
	spec, err := d.spec()
	if err != nil {
		return err
	}
	for name, m := range mapsByName(&d.maps) {
		if err := spec.Maps[name].Compatible(m); err != nil {
			return fmt.Errorf("pinned map %s in %s was made by another version of weir: %w; the running program is left as it is. To start anew, losing flows and counters: weir unload --pin-dir %s", name, dir, err, dir)
		}
	}
	if lack := lacks(d.limits, d.config.Room()); lack != "" {
		return fmt.Errorf("pins in %s: %s; the running program is left as it is. Restore the limits, or start anew, losing flows and counters: weir unload --pin-dir %s", dir, lack, dir)
	}
	return errors.Join(d.checkNode(dir), d.checkSNAT(dir))
}

// mapSlots gives the fields of a WeirMaps by map name.
func mapSlots(m *bpf.WeirMaps) map[string]**ebpf.Map {
	return map[string]**ebpf.Map{
		bpf.WeirMapAcl:         &m.Acl,
		bpf.WeirMapAclLists:    &m.AclLists,
		bpf.WeirMapActive:      &m.Active,
		bpf.WeirMapAnswers:     &m.Answers,
		bpf.WeirMapArena:       &m.Arena,
		bpf.WeirMapBackends:    &m.Backends,
		bpf.WeirMapCursors:     &m.Cursors,
		bpf.WeirMapCaptures:    &m.Captures,
		bpf.WeirMapCeilings:    &m.Ceilings,
		bpf.WeirMapDrops:       &m.Drops,
		bpf.WeirMapEvents:      &m.Events,
		bpf.WeirMapFlows:       &m.Flows,
		bpf.WeirMapFragments:   &m.Fragments,
		bpf.WeirMapMeta:        &m.Meta,
		bpf.WeirMapQuicIds:     &m.QuicIds,
		bpf.WeirMapRealFilter:  &m.RealFilter,
		bpf.WeirMapReals:       &m.Reals,
		bpf.WeirMapReasons:     &m.Reasons,
		bpf.WeirMapServices:    &m.Services,
		bpf.WeirMapSnatFlows:   &m.SnatFlows,
		bpf.WeirMapSnatClients: &m.SnatClients,
		bpf.WeirMapSnatIndex:   &m.SnatIndex,
		bpf.WeirMapSources:     &m.Sources,
		bpf.WeirMapStats:       &m.Stats,
		bpf.WeirMapVips:        &m.Vips,
		bpf.WeirMapVlans:       &m.Vlans,
	}
}

func mapsByName(m *bpf.WeirMaps) map[string]*ebpf.Map {
	out := map[string]*ebpf.Map{}
	for name, slot := range mapSlots(m) {
		out[name] = *slot
	}
	return out
}

// Unload detaches the program from all interfaces and removes all pins of a
// pin directory. It returns what it removed; nothing there is not an error. It
// refuses with ErrInUse while a daemon runs, unless force.
func Unload(pinDir string, force bool) (removed []string, err error) {
	lock, err := lockDir(pinDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, ErrInUse) && force:
	case errors.Is(err, ErrInUse):
		return nil, fmt.Errorf("%w: stop it first, or use --force", err)
	case err != nil:
		return nil, err
	default:
		defer lock.Close()
	}
	return removePins(pinDir)
}

// removePins removes links first, so that no program runs on maps that nobody
// can find.
func removePins(dir string) (removed []string, err error) {
	var errs []error
	for _, name := range entries(filepath.Join(dir, linksDir)) {
		if err := removeLink(filepath.Join(dir, linksDir, name)); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, "link on "+pinUnescaper.Replace(name))
	}
	for _, name := range entries(filepath.Join(dir, mapsDir)) {
		if err := os.Remove(filepath.Join(dir, mapsDir, name)); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, "map "+name)
	}
	for _, sub := range []string{programPin, linksDir, mapsDir, ""} {
		if err := os.Remove(filepath.Join(dir, sub)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return removed, errors.Join(errs...)
}

var (
	pinEscaper   = strings.NewReplacer("%", "%25", ".", "%2e")
	pinUnescaper = strings.NewReplacer("%2e", ".", "%25", "%")
)

// linkPath is where the link of an interface is pinned.
func linkPath(dir, iface string) string {
	return filepath.Join(dir, linksDir, pinEscaper.Replace(iface))
}

func removeLink(path string) error {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return fmt.Errorf("open pinned link %s: %w", path, err)
	}
	defer l.Close()
	if err := l.Unpin(); err != nil {
		return fmt.Errorf("remove pinned link %s: %w", path, err)
	}
	return nil
}

func entries(dir string) []string {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	sort.Strings(names)
	return names
}
