package cgroup

import "errors"

// Memory is what a group uses and may use, in bytes. A limit of 0 is none.
type Memory struct {
	Used      uint64 // without file pages that the kernel would give away first
	Limit     uint64
	SwapUsed  uint64
	SwapLimit uint64
}

// v1Unlimited and more is version 1's way to say none: 2^63 less a page, or
// the whole address space.
const v1Unlimited = 1 << 60

// Memory reads it. The limits of the groups above count too.
func (g *Group) Memory() (Memory, error) {
	d, err := g.controller("memory")
	if err != nil {
		return Memory{}, err
	}
	stat, err := fields(d.file("memory.stat"))
	if err != nil {
		return Memory{}, err
	}
	if g.v2 {
		return memory2(d, stat)
	}
	return memory1(d, stat)
}

func memory2(d dir, stat map[string]uint64) (m Memory, err error) {
	used, err := number(d.file("memory.current"))
	if errors.Is(err, errors.ErrUnsupported) { // the root: what is charged to anybody
		used, err = stat["anon"]+stat["file"]+stat["kernel"], nil
	}
	if err != nil {
		return m, err
	}
	m.Used = used - min(used, stat["inactive_file"])
	if m.SwapUsed, err = optional(d, "memory.swap.current"); err != nil {
		return m, err
	}
	for _, up := range d.parents() {
		for _, name := range []string{"memory.max", "memory.high"} {
			limit, err := optional(up, name)
			if err != nil {
				return m, err
			}
			m.Limit = least(m.Limit, limit)
		}
		limit, err := optional(up, "memory.swap.max")
		if err != nil {
			return m, err
		}
		m.SwapLimit = least(m.SwapLimit, limit)
	}
	return m, nil
}

// optional reads a number that the root and groups without swap do not have.
func optional(d dir, name string) (uint64, error) {
	n, err := number(d.file(name))
	if errors.Is(err, errors.ErrUnsupported) {
		return unlimited, nil
	}
	return n, err
}

func memory1(d dir, stat map[string]uint64) (m Memory, err error) {
	used, err := number(d.file("memory.usage_in_bytes"))
	if err != nil {
		return m, err
	}
	m.Used = used - min(used, stat["total_inactive_file"])
	m.SwapUsed = stat["total_swap"]
	if limit := stat["hierarchical_memory_limit"]; limit < v1Unlimited {
		m.Limit = limit
	}
	if both := stat["hierarchical_memsw_limit"]; both > m.Limit && both < v1Unlimited {
		m.SwapLimit = both - m.Limit // what may be swapped when memory is full
	}
	return m, nil
}
