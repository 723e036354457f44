// Package e2e tests the real binary end to end: its daemon balances real
// connections between network namespaces, and its verbs steer it.
//
// WEIR_BINARY names a binary to test in place of one built here, WEIR_LONG=1
// asks for the long forms of the tests that repeat or wait.
package e2e

import (
	"fmt"
	"os"
	"testing"

	"weir/loader/netlab/suite"
)

const (
	prefix   = "weir-e2e" // of the namespaces
	runDir   = "/run/weir-e2e"
	pinDir   = "/sys/fs/bpf/weir-e2e"
	weirPath = runDir + "/weir"
)

func TestMain(m *testing.M) {
	// Else each verb, too, waits a second at its end for more races to show.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	tests := suite.Suite{Prefix: prefix, Dir: runDir, Binary: weirPath, Pins: []string{pinDir, otherPins}, Race: raceEnabled}
	os.Exit(tests.Main(m.Run))
}

// long tells whether the long forms are asked for.
func long() bool { return os.Getenv("WEIR_LONG") == "1" }

// either is the long or the short form of a number.
func either[T any](longForm, shortForm T) T {
	if long() {
		return longForm
	}
	return shortForm
}
