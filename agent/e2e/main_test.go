// Package e2e tests backends that `weir agent dsr` sets up with packets that
// `weir run` sends, between network namespaces, and `weir agent run` as
// balancers see it.
//
// WEIR_BINARY names a binary to test in place of one built here.
package e2e

import (
	"os"
	"testing"

	"weir/loader/netlab/suite"
)

const (
	prefix = "weir-agent-e2e" // of the namespaces
	runDir = "/run/weir-agent-e2e"
	weir   = runDir + "/weir"
	pins   = "/sys/fs/bpf/weir-agent-e2e"
)

func TestMain(m *testing.M) {
	if os.Getenv(burnEnv) != "" {
		burnWhenTold()
	}
	os.Exit(suite.Suite{Prefix: prefix, Dir: runDir, Binary: weir, Pins: []string{pins}}.Main(m.Run))
}
