package dataplane

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"weir/bpf"
	"weir/loader/lb"
	"weir/loader/table"
)

const (
	tableSizeMask = uint32(bpf.WeirConstantTABLE_SIZE_MASK)
	pickerShift   = uint32(bpf.WeirConstantTABLE_PICKER_SHIFT)
)

// arena hands out regions of the map arena: tables and member lists, each a
// head word and its entries. A region is written before anything refers to it
// and given out again only after no program can still read it. Region 0 is a
// table without entries.
type arena struct {
	words []uint32
	gaps  []extent       // what is free, by offset; none touches another
	refs  map[uint32]int // by offset of the region
}

type extent struct{ at, size uint32 }

func (e extent) end() uint32 { return e.at + e.size }

// newArena takes over the regions that held names, once for each reference.
func newArena(words []uint32, held []uint32) *arena {
	a := &arena{words: words, refs: map[uint32]int{0: 1}}
	for _, at := range held {
		a.refs[at]++
	}
	free := uint32(0) // nothing from here on is known to be in use
	for _, at := range slices.Sorted(maps.Keys(a.refs)) {
		if at > free {
			a.gaps = append(a.gaps, extent{free, at - free})
		}
		free = at + a.size(at)
	}
	if end := uint32(len(words)); free < end {
		a.gaps = append(a.gaps, extent{free, end - free})
	}
	return a
}

// size is how many words a region takes.
func (a *arena) size(at uint32) uint32 { return 1 + a.words[at]&tableSizeMask }

// hold counts one more reference to a region.
func (a *arena) hold(at uint32) { a.refs[at]++ }

// release gives a reference up. The caller waits out running programs first.
func (a *arena) release(at uint32) {
	if a.refs[at]--; a.refs[at] > 0 {
		return
	}
	delete(a.refs, at)
	a.free(extent{at, a.size(at)})
}

// free adds a gap and joins it with those that it touches.
func (a *arena) free(e extent) {
	i, _ := slices.BinarySearchFunc(a.gaps, e, func(a, b extent) int { return cmp.Compare(a.at, b.at) })
	from, to := i, i
	if i > 0 && a.gaps[i-1].end() == e.at {
		from--
		e = extent{a.gaps[from].at, a.gaps[from].size + e.size}
	}
	if i < len(a.gaps) && e.end() == a.gaps[i].at {
		e.size += a.gaps[i].size
		to++
	}
	a.gaps = slices.Replace(a.gaps, from, to, e)
}

// place writes a region into the first gap that takes it and returns its
// offset, with one reference.
func (a *arena) place(head uint32, entries []uint32) (uint32, error) {
	size := uint32(len(entries)) + 1
	i := slices.IndexFunc(a.gaps, func(g extent) bool { return g.size >= size })
	if i < 0 {
		return 0, fmt.Errorf("no room for a table of %d entries: %d of %d are in use or fragmented: raise limits.table_entries (needs `weir unload`)", len(entries), a.inUse(), len(a.words))
	}
	g := &a.gaps[i]
	at := g.at
	a.words[at] = head
	copy(a.words[at+1:], entries)
	a.refs[at] = 1
	if g.at, g.size = g.at+size, g.size-size; g.size == 0 {
		a.gaps = slices.Delete(a.gaps, i, i+1)
	}
	return at, nil
}

func (a *arena) inUse() int {
	n := len(a.words)
	for _, g := range a.gaps {
		n -= int(g.size)
	}
	return n
}

// is tells whether a region holds just this.
func (a *arena) is(at, head uint32, entries []uint32) bool {
	return a.words[at] == head && slices.Equal(a.region(at), entries)
}

func (a *arena) region(at uint32) []uint32 {
	n := a.words[at] & tableSizeMask
	return a.words[at+1 : at+1+n]
}

// tableHead is the first word of a table.
func tableHead(t lb.Table) uint32 {
	picker := bpf.WeirPickerPICK_CURSOR
	switch {
	case t.Algorithm == lb.Maglev:
		picker = bpf.WeirPickerPICK_HASH
	case t.Algorithm == lb.LeastConn && len(t.Slots) <= table.LeastExact:
		picker = bpf.WeirPickerPICK_LEAST
	case t.Algorithm.ComparesLoads():
		picker = bpf.WeirPickerPICK_TWO
	}
	return uint32(picker)<<pickerShift | uint32(len(t.Slots))
}
