// Package table builds the arrays of backend slots that the kernel picks
// from: Maglev look-up tables and round-robin schedules. It is pure: the same
// input gives the same table on every node and every architecture, which is
// why it calculates in integers only.
package table

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"weir/loader/lb"
)

// MaxSize is the largest Maglev table.
const MaxSize = 1<<24 - 1

// Entry is one backend as the builders see it. Its slot is its position in
// the list that they are given.
type Entry struct {
	ID     string // stable identity, the same on every node: "10.0.0.11:80"
	Weight lb.EffectiveWeight
}

// Maglev fills a table of size entries with slots, each in proportion to its
// weight, so that a changed list of backends or a changed weight moves few
// entries (Eisenbud et al., "Maglev", NSDI 2016, section 3.4). size is a prime
// up to MaxSize and at least the number of backends with a weight. A backend
// whose share is less than one entry gets one or none. The order of entries
// changes only the slot numbers. With no positive weight the table is nil.
func Maglev(entries []Entry, size uint32, seed uint64) ([]uint32, error) {
	claims, err := newClaims(entries, size, seed)
	if err != nil {
		return nil, fmt.Errorf("build Maglev table: %w", err)
	}
	if len(claims) == 0 {
		return nil, nil
	}
	return fill(claims, size), nil
}

// CheckSize says why a Maglev table cannot have this size, or nil.
func CheckSize(size uint32) error {
	if size > MaxSize {
		return fmt.Errorf("table size %d is over %d", size, MaxSize)
	}
	if !isPrime(size) {
		return fmt.Errorf("table size %d is not a prime", size)
	}
	return nil
}

func isPrime(n uint32) bool {
	if n < 2 {
		return false
	}
	for d := uint32(2); d <= n/d; d++ {
		if n%d == 0 {
			return false
		}
	}
	return true
}

// claim is a backend's walk through its own permutation of the table; see
// ring.
//
// The paper gives weights by how often a backend has a turn and leaves the
// order of turns open. Here a backend's turns fall at fixed times of its own,
// phase + k*interval with interval ~ 1/weight. Whose turn is before whose then
// depends on these two alone: no third backend that comes, goes or changes
// weight alters it, unlike rounds that are counted in the largest weight.
type claim struct {
	phase    uint64
	interval uint64
	slot     uint32
	step     uint32
	scale    uint32
	offset   uint32
}

func newClaims(entries []Entry, size uint32, seed uint64) ([]claim, error) {
	if err := CheckSize(size); err != nil {
		return nil, err
	}
	slots, err := byIdentity(entries)
	if err != nil {
		return nil, err
	}
	if uint64(len(slots)) > uint64(size) {
		return nil, fmt.Errorf("table size %d is less than its %d backends", size, len(slots))
	}
	unit := timeUnit(entries)
	claims := make([]claim, 0, len(slots))
	for _, slot := range slots {
		claims = append(claims, newClaim(entries[slot], slot, size, seed, unit))
	}
	return claims, nil
}

// byIdentity lists the slots that have a weight, ordered by identity.
func byIdentity(entries []Entry) ([]uint32, error) {
	slots := make([]uint32, 0, len(entries))
	for i, e := range entries {
		if e.Weight > 0 {
			slots = append(slots, uint32(i))
		}
	}
	slices.SortFunc(slots, func(a, b uint32) int { return cmp.Compare(entries[a].ID, entries[b].ID) })
	for i := 1; i < len(slots); i++ {
		if id := entries[slots[i]].ID; id == entries[slots[i-1]].ID {
			return nil, fmt.Errorf("backend %q is listed twice", id)
		}
	}
	return slots, nil
}

// timeUnit is the interval of weight 1: a power of two that leaves the largest
// weight an interval of 24 bits, so that rounding over a whole table costs
// less than one entry and no time exceeds 2^57.
func timeUnit(entries []Entry) uint64 {
	largest := lb.EffectiveWeight(1)
	for _, e := range entries {
		largest = max(largest, e.Weight)
	}
	return 1 << (24 + bits.Len32(uint32(largest)))
}

func newClaim(e Entry, slot, size uint32, seed, unit uint64) claim {
	key := binary.LittleEndian.AppendUint64(make([]byte, 0, 64), seed)
	sum := sha256.Sum256(append(key, e.ID...))
	word := func(i int) uint64 { return binary.LittleEndian.Uint64(sum[8*i:]) }
	interval := unit / uint64(e.Weight)
	phase, _ := bits.Mul64(word(2), interval) // a uniform fraction of the interval
	return claim{
		phase: phase, interval: interval, slot: slot,
		step:   uint32(word(0) % uint64(size)),
		scale:  1 + uint32(word(1)%uint64(max(size-1, 1))),
		offset: uint32(word(3) % uint64(size)),
	}
}

// fill lets the backend whose turn is next take the first free entry of its
// permutation, until the table is full.
func fill(claims []claim, size uint32) []uint32 {
	slots := make([]uint32, size)
	r := newRing(size)
	turns := newTurns(claims)
	for range size {
		c := &claims[turns[0].claim]
		slots[r.take(c)] = c.slot
		turns.postpone(c.interval)
	}
	return slots
}
