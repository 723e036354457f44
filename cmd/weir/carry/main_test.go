// Package carry tests that every forwarding mode carries real HTTP and real UDP
// end to end, from clients through `weir run` to backends that have what they
// need from `weir agent dsr`: over good paths, lossy ones and narrow ones.
//
// What needs a part that the kernel may lack is skipped there, and runs in
// virtual machines (vm-tests/). WEIR_BINARY names a binary to test in place of
// one built here.
package carry

import (
	"os"
	"testing"

	"weir/loader/netlab/suite"
)

const (
	prefix  = "weir-carry" // of the namespaces
	runDir  = "/run/weir-carry"
	weir    = runDir + "/weir"
	pinsDir = "/sys/fs/bpf/weir-carry" // and a number
)

func TestMain(m *testing.M) {
	os.Exit(suite.Suite{Prefix: prefix, Dir: runDir, Binary: weir, Pins: []string{pinsDir + "*"}}.Main(m.Run))
}
