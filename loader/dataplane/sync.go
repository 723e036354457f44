package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"weir/bpf"
	"weir/loader/lb"
)

const (
	sharedFlag = uint8(bpf.WeirBackendFlagBACKEND_SHARED)
	vipMark    = uint8(bpf.WeirConstantVIP_MARK)
)

// syncReals makes the maps that recognise replies equal to the NAT backends,
// those that drain included.
func (d *DataPlane) syncReals() error {
	owners := d.realOwners()
	filter := d.realFilter()
	for i, word := range filter {
		atomic.OrUint64(&d.mem.filter[i], word)
	}
	d.flagShared(owners)
	err := d.writeReals(owners)
	for i, word := range filter {
		atomic.StoreUint64(&d.mem.filter[i], word)
	}
	return err
}

// realFilter has the bits of all backends whose replies we rewrite.
func (d *DataPlane) realFilter() []uint64 {
	filter := make([]uint64, len(d.mem.filter))
	for _, b := range d.registry.backends {
		if b.key.forward.Translates() {
			bit := filterBit(b.key.endpoint.Addr())
			filter[bit/64] |= 1 << (bit % 64)
		}
	}
	return filter
}

// realOwners gives the ids of each real of nat. Replies to snat are told by
// where they go.
func (d *DataPlane) realOwners() map[bpf.WeirRealKey][]uint32 {
	owners := map[bpf.WeirRealKey][]uint32{}
	for id, b := range d.registry.backends {
		if b.key.forward != lb.NAT {
			continue
		}
		key := bpf.WeirRealKey{Proto: uint8(b.service.vip.Proto), Port: wirePort(b.key.endpoint.Port())}
		key.Addr.Word = words(b.key.endpoint.Addr())
		owners[key] = append(owners[key], id)
	}
	return owners
}

// flagShared flags the backends whose replies their address does not tell: see
// BACKEND_SHARED.
func (d *DataPlane) flagShared(owners map[bpf.WeirRealKey][]uint32) {
	anyPort := map[bpf.WeirRealKey]bool{}
	for key := range owners {
		if key.Port == 0 {
			anyPort[key] = true
		}
	}
	for key, ids := range owners {
		host := key
		host.Port = 0
		var flags uint8
		if len(ids) > 1 || anyPort[host] {
			flags = sharedFlag
		}
		for _, id := range ids {
			d.mem.backends[id].Flags = d.mem.backends[id].Flags&^sharedFlag | flags
		}
	}
}

// writeReals keeps the id that a real is registered for as long as it exists:
// flows from before it was shared are that id's.
func (d *DataPlane) writeReals(owners map[bpf.WeirRealKey][]uint32) error {
	var gone, fresh []bpf.WeirRealKey
	var ids []uint32 // of fresh
	have, err := d.readReals()
	if err != nil {
		return err
	}
	for key := range have {
		if len(owners[key]) == 0 {
			gone = append(gone, key)
		}
	}
	for key, of := range owners {
		if id, known := have[key]; !known || !slices.Contains(of, id) {
			fresh, ids = append(fresh, key), append(ids, slices.Min(of))
		}
	}
	if err := errors.Join(deleteAll(d.maps.Reals, gone), putAll(d.maps.Reals, fresh, ids)); err != nil {
		return fmt.Errorf("write map reals: %w", err)
	}
	for _, key := range gone {
		delete(have, key)
	}
	for i, key := range fresh {
		have[key] = ids[i]
	}
	d.reals = have
	return nil
}

// readReals gives what the map reals holds; writeReals puts it back into
// d.reals once it is written.
func (d *DataPlane) readReals() (map[bpf.WeirRealKey]uint32, error) {
	have := d.reals
	d.reals = nil
	if have != nil {
		return have, nil
	}
	have = map[bpf.WeirRealKey]uint32{}
	var key bpf.WeirRealKey
	var id uint32
	it := d.maps.Reals.Iterate()
	for it.Next(&key, &id) {
		have[key] = id
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read map reals: %w", err)
	}
	return have, nil
}

// putAll writes entries of a hash map in one system call (Linux 5.6).
func putAll[K, V any](m *ebpf.Map, keys []K, values []V) error {
	if len(keys) == 0 {
		return nil
	}
	_, err := m.BatchUpdate(keys, values, nil)
	return err
}

func deleteAll[K any](m *ebpf.Map, keys []K) error {
	if len(keys) == 0 {
		return nil
	}
	_, err := m.BatchDelete(keys, nil)
	return err
}

// syncMarks keeps one entry in vips for each address, and each address and
// protocol, that has services.
func (d *DataPlane) syncMarks() error {
	if d.marked {
		return nil
	}
	want := map[bpf.WeirVipKey]bool{}
	for vip, s := range d.registry.services {
		if s.removed {
			continue
		}
		for _, proto := range []lb.Proto{0, vip.Proto} {
			mark := vipKey(lb.VIP{Addr: vip.Addr, Proto: proto})
			mark.Pad = vipMark
			want[mark] = true
		}
	}
	var key bpf.WeirVipKey
	var index uint32
	var gone []bpf.WeirVipKey
	it := d.maps.Vips.Iterate()
	for it.Next(&key, &index) {
		if key.Pad != vipMark {
			continue
		}
		if !want[key] {
			gone = append(gone, key)
		}
		delete(want, key)
	}
	fresh := slices.Collect(maps.Keys(want))
	err := errors.Join(it.Err(), deleteAll(d.maps.Vips, gone), putAll(d.maps.Vips, fresh, make([]uint32, len(fresh))))
	if err != nil {
		return fmt.Errorf("write map vips: %w", err)
	}
	d.marked = true
	return nil
}
