package table

import (
	"slices"

	"weir/loader/lb"
)

const (
	// perBackend is how many entries a backend has on average, at least: shares
	// follow the weights to within one entry, so these are within 1 %.
	perBackend = 100

	// usualSize is as far as a table grows for the sake of light backends.
	usualSize = 65537
)

// sizes are the largest primes below powers of two, and usualSize. The lowest
// holds any small pool's shares to 0.1 % of all flows.
var sizes = [...]uint32{1021, 2039, 4093, 8191, 16381, 32749, usualSize, 131071, 262139, 524287, 1048573, 2097143, 4194301, 8388593}

// SizeFor is the size of a pool's Maglev table where none is configured: the
// least that gives each backend 100 entries on average and, up to a size of
// 65537, the lightest one 100. It depends on the configuration alone, so nodes
// agree, and an override of a weight does not move flows that it is not about.
func SizeFor(backends []lb.Backend) uint32 {
	var sum, lightest uint64
	for _, b := range backends {
		w := uint64(b.Weight)
		sum += w
		if w > 0 && (lightest == 0 || w < lightest) {
			lightest = w
		}
	}
	want := perBackend * uint64(len(backends))
	if lightest > 0 {
		want = max(want, min(usualSize, (perBackend*sum+lightest-1)/lightest))
	}
	i := slices.IndexFunc(sizes[:], func(size uint32) bool { return uint64(size) >= want })
	if i < 0 {
		i = len(sizes) - 1
	}
	return sizes[i]
}
