// Package suites holds the tests that run inside virtual machines. It has no
// other code.
package suites

import (
	"testing"

	"weir/vm-tests/guest"
)

func TestMain(m *testing.M) { guest.Main(m) }
