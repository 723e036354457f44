//go:build !race

// Package race says whether the race detector is on, under which a sync.Pool
// loses memory on purpose and tests of allocations cannot hold.
package race

// Enabled is true in a build with -race.
const Enabled = false
