package dataplane

import (
	"fmt"
	"slices"

	"weir/bpf"
	"weir/loader/lb"
	"weir/loader/table"
)

const (
	tableSizeMask = 1<<24 - 1 // TABLE_SIZE_MASK
	pickerShift   = 24        // TABLE_PICKER_SHIFT
)

// arena hands out regions of the map arena: tables and member lists, each a
// head word and its entries. A region is written before anything refers to it
// and given out again only after no program can still read it. Region 0 is a
// table without entries.
type arena struct {
	words []uint32
	used  []extent // by offset, disjoint
	refs  map[uint32]int
}

type extent struct{ at, size uint32 }

func newArena(words []uint32) *arena {
	return &arena{words: words, used: []extent{{0, 1}}, refs: map[uint32]int{0: 1}}
}

// hold counts one more reference to the region at an offset, which it learns
// of if it is new.
func (a *arena) hold(at uint32) {
	if a.refs[at]++; a.refs[at] > 1 {
		return
	}
	i := a.search(at)
	a.used = slices.Insert(a.used, i, extent{at, 1 + a.words[at]&tableSizeMask})
}

// release gives a reference up. The caller waits out running programs first.
func (a *arena) release(at uint32) {
	if a.refs[at]--; a.refs[at] > 0 {
		return
	}
	delete(a.refs, at)
	i := a.search(at)
	a.used = slices.Delete(a.used, i, i+1)
}

func (a *arena) search(at uint32) int {
	i, _ := slices.BinarySearchFunc(a.used, at, func(e extent, at uint32) int { return int(e.at) - int(at) })
	return i
}

// place writes a region into the first gap that takes it and returns its
// offset, with one reference.
func (a *arena) place(head uint32, entries []uint32) (uint32, error) {
	size := uint32(len(entries)) + 1
	at := uint32(0)
	for i, e := range a.used {
		at = e.at + e.size
		next := uint32(len(a.words))
		if i+1 < len(a.used) {
			next = a.used[i+1].at
		}
		if next-at >= size {
			a.words[at] = head
			copy(a.words[at+1:], entries)
			a.hold(at)
			return at, nil
		}
	}
	return 0, fmt.Errorf("no room for a table of %d entries: %d of %d are in use or fragmented: raise limits.table_entries (needs `weir unload`)", len(entries), a.inUse(), len(a.words))
}

func (a *arena) inUse() (n uint32) {
	for _, e := range a.used {
		n += e.size
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
	case t.Algorithm == lb.LeastConn:
		picker = bpf.WeirPickerPICK_TWO
	}
	return uint32(picker)<<pickerShift | uint32(len(t.Slots))
}
