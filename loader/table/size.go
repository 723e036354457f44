package table

import (
	"slices"

	"weir/loader/lb"
)

const (
	// perBackend is how many entries a backend has on average, at least: shares
	// follow the weights to within one entry, so an average one is right to 1 %.
	perBackend = 100

	// perLightest is how many the lightest has, unless that takes more than
	// usualSize: its share is right to 10 % of itself. With more, files of many
	// pools with unequal weights would need tables of gigabytes.
	perLightest = 10
	usualSize   = 65537
)

// sizes are the largest primes below powers of two, and usualSize. The lowest
// holds any small pool's shares to 0.1 % of all flows.
var sizes = [...]uint32{1021, 2039, 4093, 8191, 16381, 32749, usualSize, 131071, 262139, 524287, 1048573, 2097143, 4194301, 8388593}

// SizeFor is the size of a pool's Maglev table where none is configured: the
// least that gives a backend 100 entries on average and, up to a size of 65537,
// the lightest one 10. It depends on the configuration alone, so nodes
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
		want = max(want, min(usualSize, (perLightest*sum+lightest-1)/lightest))
	}
	i := slices.IndexFunc(sizes[:], func(size uint32) bool { return uint64(size) >= want })
	if i < 0 {
		i = len(sizes) - 1
	}
	return sizes[i]
}
