package dataplane

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/cilium/ebpf"

	"weir/bpf"
	"weir/loader/lb"
)

const (
	flowSlots   = uint32(bpf.WeirConstantFLOW_SLOTS)
	flowStates  = 8  // FLOW_STATES
	clockShift  = 32 // clock_shift
	arenaLine   = uint32(bpf.WeirConstantARENA_LINE)
	filterWords = 65536 / 64
	activeCount = 8 // bytes of one count of active flows

	fragmentSets = 8192 // FRAGMENT_SETS
)

// spec is the collection with the maps sized by the limits.
func (d *DataPlane) spec() (*ebpf.CollectionSpec, error) {
	spec, err := bpf.LoadWeir()
	if err != nil {
		return nil, fmt.Errorf("read the embedded program: %w", err)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("count CPUs: %w", err)
	}
	l := d.limits
	for name, entries := range map[string]uint32{
		bpf.WeirMapFlows:       flowSets(l),
		bpf.WeirMapServices:    l.Services + 1,
		bpf.WeirMapCursors:     l.Services + 1,
		bpf.WeirMapVips:        4 * l.Services,
		bpf.WeirMapBackends:    l.Backends + 1,
		bpf.WeirMapReals:       l.Backends,
		bpf.WeirMapQuicIds:     l.Backends,
		bpf.WeirMapStats:       (l.Backends + 1) * uint32(cpus),
		bpf.WeirMapArena:       l.TableEntries/arenaLine + 1,
		bpf.WeirMapRealFilter:  filterWords,
		bpf.WeirMapFragments:   fragmentSets,
		bpf.WeirMapEvents:      uint32(cpus),
		bpf.WeirMapCaptures:    uint32(cpus),
		bpf.WeirMapAcl:         aclEntries,
		bpf.WeirMapCeilings:    l.Services + 1,
		bpf.WeirMapDrops:       (l.Services + 1) * uint32(cpus),
		bpf.WeirMapSources:     sourceSets(l),
		bpf.WeirMapSnatFlows:   max(1, snatSets(d.config.SNAT)),
		bpf.WeirMapSnatClients: max(1, snatSets(d.config.SNAT)*flowSlots),
	} {
		spec.Maps[name].MaxEntries = entries
	}
	spec.Maps[bpf.WeirMapActive].ValueSize = activeCount * activeCounts(l)
	return spec, nil
}

// activeCounts is a power of two, so that a mask bounds an id.
func activeCounts(l lb.Limits) uint32 { return 1 << bits.Len32(l.Backends) }

// flowSets gives the table three slots for each flow it shall hold: full to
// the limit, sets hold 2.7 flows on average and fewer than one flow in 1,000
// finds all eight slots of its set taken (Poisson), at 24 bytes a flow.
func flowSets(l lb.Limits) uint32 {
	return uint32(max(1, uint64(l.Flows)*3/uint64(flowSlots)))
}

// sourceSets has two slots for each source, so that one set in a thousand has
// more sources than slots (Poisson: 4 on average).
func sourceSets(l lb.Limits) uint32 { return max(1, l.Sources/(flowSlots/2)) }

// limitsOf are the largest limits for which the maps would be made as they are.
func limitsOf(m *bpf.WeirMaps) lb.Limits {
	return lb.Limits{
		Services:     m.Services.MaxEntries() - 1,
		Backends:     m.Backends.MaxEntries() - 1,
		Flows:        mostFlows(m.Flows.MaxEntries()),
		TableEntries: m.Arena.MaxEntries()*arenaLine - 1,
		Sources:      (m.Sources.MaxEntries()+1)*(flowSlots/2) - 1,
	}
}

// mostFlows is the highest limit for which flowSets gives so many sets.
func mostFlows(sets uint32) uint32 {
	return uint32(min(((uint64(sets)+1)*uint64(flowSlots)-1)/3, math.MaxUint32))
}

// lacks says what a configuration needs more of than there are limits, or "".
func lacks(have, need lb.Limits) string {
	for _, x := range []struct {
		name       string
		have, need uint32
	}{
		{"services", have.Services, need.Services},
		{"backends", have.Backends, need.Backends},
		{"flows", have.Flows, need.Flows},
		{"table_entries", have.TableEntries, need.TableEntries},
		{"sources", have.Sources, need.Sources},
	} {
		if x.need > x.have {
			return fmt.Sprintf("limits.%s: the pinned maps have no room for %d, they were made for %d", x.name, x.need, x.have)
		}
	}
	return ""
}

// snatSets is the size of the table of source addresses and ports; see
// bpf/snat.h.
func snatSets(s lb.SNATSources) uint32 {
	const setsOfAddress = snatPorts / flowSlots // SNAT_SETS
	return uint32(len(s.Source4)+len(s.Source6)) * setsOfAddress
}

// address is struct address.
type address struct{ Word [4]uint32 }

// snatSources fills snat_sources, IPv4 first.
func snatSources(s lb.SNATSources) (out [lb.MaxSNATSources]address) {
	for i, a := range slices.Concat(s.Source4, s.Source6) {
		out[i].Word = words(a)
	}
	return out
}

// writeSNATIndex says which addresses replies to snat services come to.
func (d *DataPlane) writeSNATIndex() error {
	for i, a := range slices.Concat(d.config.SNAT.Source4, d.config.SNAT.Source6) {
		if err := d.maps.SnatIndex.Put(address{words(a)}, uint32(i)); err != nil {
			return fmt.Errorf("write map snat_index: %w", err)
		}
	}
	return nil
}

// checkSNAT refuses to adopt maps whose sources stand for other addresses.
func (d *DataPlane) checkSNAT(dir string) error {
	for i, a := range slices.Concat(d.config.SNAT.Source4, d.config.SNAT.Source6) {
		var index uint32
		err := d.maps.SnatIndex.Lookup(address{words(a)}, &index)
		if err != nil || int(index) != i {
			return fmt.Errorf("pins in %s were made for other snat.addresses; the running program is left as it is. Restore them, or start anew, losing flows and counters: weir unload --pin-dir %s", dir, dir)
		}
	}
	return nil
}

// writeNode fills the map that says what the others mean.
func (d *DataPlane) writeNode() error {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count CPUs: %w", err)
	}
	node := bpf.WeirNode{Layout: layout, Cpus: uint32(cpus), FlowSets: flowSets(d.limits)}
	if d.opts.FlowKey != nil {
		node.FlowKey = *d.opts.FlowKey
	} else {
		var secret [48]byte
		rand.Read(secret[:])
		for i := range node.FlowKey {
			node.FlowKey[i] = binary.NativeEndian.Uint32(secret[4*i:])
		}
	}
	if err := d.maps.Meta.Put(uint32(0), node); err != nil {
		return fmt.Errorf("write map meta: %w", err)
	}
	return nil
}

// checkNode refuses maps of another layout.
func (d *DataPlane) checkNode(dir string) error {
	var node bpf.WeirNode
	if err := d.maps.Meta.Lookup(uint32(0), &node); err != nil {
		return fmt.Errorf("read pinned map meta: %w", err)
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count CPUs: %w", err)
	}
	if node.Layout != layout || int(node.Cpus) != cpus || node.FlowSets != flowSets(d.limits) {
		return fmt.Errorf("pins in %s have layout %d for %d CPUs, this weir has layout %d for %d; the running program is left as it is. To start anew, losing flows and counters: weir unload --pin-dir %s", dir, node.Layout, node.Cpus, layout, cpus, dir)
	}
	return nil
}

// loadProgram loads the program on the open maps.
func (d *DataPlane) loadProgram(f features, c lb.Config) (*bpf.WeirObjects, error) {
	spec, err := d.spec()
	if err != nil {
		return nil, err
	}
	var node bpf.WeirNode
	if err := d.maps.Meta.Lookup(uint32(0), &node); err != nil {
		return nil, fmt.Errorf("read map meta: %w", err)
	}
	source4, source6 := prefixWords(c.Tunnel.Source4), prefixWords(c.Tunnel.Source6)
	for name, value := range map[string]any{
		bpf.WeirVarTunnelSource4: source4[3],
		bpf.WeirVarTunnelSource6: [2]uint32(source6[:2]),
		bpf.WeirVarGuePort:       wirePort(c.Tunnel.GUEPort),
		bpf.WeirVarFlowKey:       node.FlowKey,
		bpf.WeirVarFlowSets:      node.FlowSets,
		bpf.WeirVarPickKey:       pickKey(c.Seed),
		bpf.WeirVarActiveMask:    activeCounts(d.limits) - 1,
		bpf.WeirVarBackendIds:    d.limits.Backends + 1,
		bpf.WeirVarServiceIds:    d.limits.Services + 1,
		bpf.WeirVarSourceSets:    sourceSets(d.limits),
		bpf.WeirVarFeatureNat:    f.nat,
		bpf.WeirVarFeatureSnat:   f.nat && snatSets(c.SNAT) > 0,
		bpf.WeirVarFeatureAcl:    f.acl,
		bpf.WeirVarFeatureLimits: f.limits,
		bpf.WeirVarLimitShift:    d.opts.LimitShift,
		bpf.WeirVarFeatureVlan:   f.vlan,
		bpf.WeirVarSnatSources:   snatSources(c.SNAT),
		bpf.WeirVarSnatCount4:    uint32(len(c.SNAT.Source4)),
		bpf.WeirVarSnatCount6:    uint32(len(c.SNAT.Source6)),
		bpf.WeirVarClockShift:    d.opts.ClockShift,
		bpf.WeirVarIdleLimit:     idleLimits(c.Timeouts, d.opts.ClockShift),

		bpf.WeirVarFeatureFragments: !c.DropFragments,
		bpf.WeirVarFeatureMss:       f.mss,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set variable %s: %w", name, err)
		}
	}
	objects := new(bpf.WeirObjects)
	err = spec.LoadAndAssign(objects, &ebpf.CollectionOptions{MapReplacements: mapsByName(&d.maps)})
	if err != nil {
		return nil, fmt.Errorf("load program: %w", explain(err))
	}
	// The maps are ours already; these are duplicates of their descriptors.
	if err := objects.WeirMaps.Close(); err != nil {
		return nil, fmt.Errorf("load program: %w", err)
	}
	return objects, nil
}

// idleLimits converts timeouts to units of the flow clock, rounded up, by
// flow state.
func idleLimits(t lb.Timeouts, shift uint32) [flowStates]uint16 {
	unit := time.Duration(1) << shift
	units := func(d time.Duration) uint16 {
		return uint16(min((d+unit-1)/unit, math.MaxUint16))
	}
	return [flowStates]uint16{
		bpf.WeirFlowStateFLOW_EMBRYONIC:   units(t.Embryonic),
		bpf.WeirFlowStateFLOW_ESTABLISHED: units(t.Established),
		bpf.WeirFlowStateFLOW_STREAM:      units(t.UDP),
		bpf.WeirFlowStateFLOW_CLOSING:     units(t.Closing),
		bpf.WeirFlowStateFLOW_CLOSED:      1,
		bpf.WeirFlowStateFLOW_REVERSE:     units(max(t.Established, t.UDP)),
	}
}

// replaceProgram loads a program with these features and swaps it in on all
// links. Packets see the old or the new program. If a link refuses it, all run
// the old one again.
func (d *DataPlane) replaceProgram(f features, c lb.Config) error {
	fresh, err := d.loadProgram(f, c)
	if err != nil {
		return err
	}
	if err := errors.Join(d.writeEvents(fresh), d.writeCapture(fresh)); err != nil {
		fresh.Weir.Close()
		return err
	}
	if err := d.update(fresh.Weir); err != nil {
		return errors.Join(err, fresh.Weir.Close())
	}
	old := d.program
	d.program, d.features = fresh, f
	if err := old.Weir.Close(); err != nil {
		return fmt.Errorf("close the replaced program: %w", err)
	}
	return nil
}

// update gives a program to all links, or to none.
func (d *DataPlane) update(to *ebpf.Program) error {
	var updated []*attachment
	for _, name := range slices.Sorted(maps.Keys(d.links)) {
		a := d.links[name]
		err := a.link.Update(to)
		if err == nil {
			updated = append(updated, a)
			continue
		}
		errs := []error{fmt.Errorf("replace the program on %s: %w", a.name, err)}
		for _, a := range updated {
			if err := a.link.Update(d.program.Weir); err != nil {
				errs = append(errs, fmt.Errorf("restore the program on %s: %w", a.name, err))
			}
		}
		return errors.Join(errs...)
	}
	return nil
}
