// Package dataplane owns weir's kernel side: it creates or adopts the pinned
// maps, loads the program, attaches it through pinned links, and makes the
// maps hold what control wants. It is the only importer of package bpf.
//
// All state that must outlive the loader is in the maps; a DataPlane can be
// rebuilt from them after a crash at any point.
package dataplane

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/cilium/ebpf"

	"weir/bpf"
	"weir/loader/lb"
)

// Options say what to open.
type Options struct {
	// Config names interfaces, pin directory, limits, timeouts and seed.
	// Without interfaces nothing is attached.
	Config lb.Config
	// Log gets notices such as a fall back to generic mode. Nil: none.
	Log *slog.Logger
	// ClockShift overrides the flow clock's unit of 2^32 ns; for tests.
	ClockShift uint32
	// FlowKey fixes the flow table's secret; for tests. Nil: random.
	FlowKey *[12]uint32

	// LimitShift overrides the unit of the clock of limits, 2^10 ns; for tests.
	LimitShift uint32

	features features // to load from the start
}

// DataPlane is an open data plane. Apply, Configure and Sweep serialise
// themselves; all other methods may be called from any goroutine at any time
// until Close.
type DataPlane struct {
	opts    Options
	log     *slog.Logger
	lock    *os.File
	adopted bool

	maps   bpf.WeirMaps
	limits lb.Limits // of the maps
	mem    memory
	clock  flowClock

	sweeping sync.Mutex // held by the one Sweep; taken before mu

	mu         sync.Mutex // what follows
	config     lb.Config
	program    *bpf.WeirObjects // the loaded program with its variables
	features   features         // of the program
	links      map[string]*attachment
	registry   *registry
	acls       *acls
	idle       [flowStates]uint16
	drifts     map[uint32]drift
	limbo      []uint32                   // arena regions replaced, maybe still being read
	retiring   bool                       // backends were retired since the last reclaim
	round      uint64                     // counts Applies
	reals      map[bpf.WeirRealKey]uint32 // what the map holds; nil: not known
	marked     bool                       // vips has the marks that it needs
	quicSynced bool                       // the map quic_ids is what the registry says
	sample     uint32                     // of the event stream; 0: nobody listens

	captured *bpf.WeirCaptureFilter // nil: nothing is captured

	listening  sync.Mutex // held by the one Events call
	capturing  sync.Mutex // held by the one capture
	explaining sync.Mutex // held by the one Explain call
}

// Open adopts what is pinned in Config.PinDir or creates it, and attaches the
// program to Config.Interfaces. On error nothing is changed: what was created
// is removed again and what was running keeps running.
func Open(o Options) (_ *DataPlane, err error) {
	if err := checkSystem(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ClockShift == 0 {
		o.ClockShift = clockShift
	}
	if o.LimitShift == 0 {
		o.LimitShift = limitShift
	}
	d := &DataPlane{opts: o, log: o.Log, config: o.Config, links: map[string]*attachment{}, drifts: map[uint32]drift{}}
	d.clock = flowClock{shift: o.ClockShift}
	if err := d.openMaps(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.abandon()
		}
	}()
	if d.mem, err = mapMemory(&d.maps); err != nil {
		return nil, err
	}
	if d.registry, err = readRegistry(&d.maps, &d.mem); err != nil {
		return nil, err
	}
	if d.acls, err = readACLs(&d.maps, &d.mem, d.registry); err != nil {
		return nil, err
	}
	used, err := d.used()
	if err != nil {
		return nil, err
	}
	d.features = o.features.with(used)
	d.idle = idleLimits(o.Config.Timeouts, o.ClockShift)
	if d.program, err = d.loadProgram(d.features, d.config); err != nil {
		return nil, err
	}
	if err := d.attachAll(); err != nil {
		return nil, err
	}
	return d, d.detachOthers()
}

// abandon undoes a failed Open: pins that this Open created go, adopted ones
// stay.
func (d *DataPlane) abandon() {
	for _, a := range d.links {
		a.undo()
	}
	if !d.adopted {
		if _, err := removePins(d.config.PinDir); err != nil {
			d.log.Error("could not remove the pins of a failed start", "err", err)
		}
	}
	if err := d.Close(); err != nil {
		d.log.Error("could not close after a failed start", "err", err)
	}
}

// Close lets go of the data plane, which keeps running: maps, program and
// links stay pinned. Closing twice is safe.
func (d *DataPlane) Close() error {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for name, a := range d.links {
		errs = append(errs, a.link.Close())
		delete(d.links, name)
	}
	if d.program != nil {
		errs = append(errs, d.program.Weir.Close())
	}
	errs = append(errs, d.mem.unmap(), d.maps.Close())
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
		d.lock = nil
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close data plane: %w", err)
	}
	return nil
}

// Program is the loaded program, for test runs.
func (d *DataPlane) Program() *ebpf.Program {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.program.Weir
}

// Configure takes over a new configuration's interfaces, timeouts and seed by
// replacing the program; flows, counters and links stay. Limits above those of
// the pinned maps and another pin directory are refused: an error says so, and
// nothing has changed.
func (d *DataPlane) Configure(c lb.Config) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.PinDir != d.config.PinDir {
		return fmt.Errorf("pin_dir cannot change from %s to %s while running: stop the daemon, run `weir unload`, and start it again", d.config.PinDir, c.PinDir)
	}
	if lack := lacks(d.limits, c.Room()); lack != "" {
		return fmt.Errorf("limits cannot change while the daemon runs: %s: stop the daemon, run `weir unload`, which ends flows, and start it again", lack)
	}
	if !c.SNAT.Equal(d.config.SNAT) {
		return fmt.Errorf("snat.addresses cannot change while maps are pinned: stop the daemon, run `weir unload`, and start it again")
	}
	old := d.config
	d.config = c
	if err := d.attachAll(); err != nil {
		d.config = old
		return errors.Join(err, d.attachAll())
	}
	if c.Seed != old.Seed || c.Timeouts != old.Timeouts || c.Tunnel != old.Tunnel || c.DropFragments != old.DropFragments {
		if err := d.replaceProgram(d.features, c); err != nil {
			d.config = old
			return errors.Join(err, d.detachOthers())
		}
		d.idle = idleLimits(c.Timeouts, d.opts.ClockShift)
	}
	return d.detachOthers()
}
