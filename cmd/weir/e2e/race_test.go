//go:build race

package e2e

// The daemon is built as the tests are.
const raceEnabled = true
