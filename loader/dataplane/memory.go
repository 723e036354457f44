package dataplane

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"weir/bpf"
)

// memory is the maps' memory, mapped: the kernel's own, so every write is seen
// by the next packet.
type memory struct {
	regions  [][]byte
	flows    []bpf.WeirFlowSet
	services []bpf.WeirService
	backends []bpf.WeirBackend
	active   []uint64
	arena    []uint32
	stats    []bpf.WeirBackendStats
	filter   []uint64
	snat     []bpf.WeirFlowSet
	lists    []bpf.WeirAclState
	drops    []bpf.WeirServiceDrops
	sources  []bpf.WeirFlowSet
	ceilings []uint64
	frags    []bpf.WeirFlowSet
}

// mapMemory stops at the first map that does not fit into memory.
func mapMemory(m *bpf.WeirMaps) (memory, error) {
	var mem memory
	for _, step := range []func() error{
		func() error { return mapArray(&mem, m.Flows, &mem.flows) },
		func() error { return mapArray(&mem, m.Services, &mem.services) },
		func() error { return mapArray(&mem, m.Backends, &mem.backends) },
		func() error { return mapArray(&mem, m.Active, &mem.active) },
		func() error { return mapArray(&mem, m.Arena, &mem.arena) },
		func() error { return mapArray(&mem, m.Stats, &mem.stats) },
		func() error { return mapArray(&mem, m.RealFilter, &mem.filter) },
		func() error { return mapArray(&mem, m.SnatFlows, &mem.snat) },
		func() error { return mapArray(&mem, m.AclLists, &mem.lists) },
		func() error { return mapArray(&mem, m.Drops, &mem.drops) },
		func() error { return mapArray(&mem, m.Sources, &mem.sources) },
		func() error { return mapArray(&mem, m.Ceilings, &mem.ceilings) },
		func() error { return mapArray(&mem, m.Fragments, &mem.frags) },
	} {
		if err := step(); err != nil {
			return mem, errors.Join(err, mem.unmap())
		}
	}
	return mem, nil
}

// mapArray maps all elements of an array map, whose value may hold several T.
func mapArray[T any](mem *memory, m *ebpf.Map, out *[]T) error {
	var t T
	elem := (uintptr(m.ValueSize()) + 7) &^ 7
	size := elem * uintptr(m.MaxEntries())
	page := uintptr(unix.Getpagesize())
	data, err := unix.Mmap(m.FD(), 0, int((size+page-1)&^(page-1)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the memory of %s: %w", m, explain(err))
	}
	mem.regions = append(mem.regions, data)
	*out = unsafe.Slice((*T)(unsafe.Pointer(&data[0])), size/unsafe.Sizeof(t))
	return nil
}

func (m *memory) unmap() error {
	var errs []error
	for _, r := range m.regions {
		errs = append(errs, unix.Munmap(r))
	}
	*m = memory{}
	return errors.Join(errs...)
}
