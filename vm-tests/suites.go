package vmtests

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"weir/vm-tests/qemu"
	"weir/vm-tests/results"
)

// kernels are Debian's series that weir is tested on.
func kernels() []string { return []string{"6.1", "6.12"} }

// flavour of Debian's kernels: small, with drivers for virtual machines only.
const flavour = "cloud-amd64"

// suite is what one machine runs on each kernel.
type suite struct {
	name  string
	pkg   string // whose tests; empty: package suites
	tests string // pattern
	skip  string // pattern of tests to leave out
	smoke bool   // one of the short ones; the others run all
	short bool   // fewer generated packets: without KVM a machine has a tenth of the speed
	whole bool   // a test that is skipped has failed: machines have what it needs
	alone bool   // on a small host: needs both processors, or tests load and time
	nics  []qemu.NIC
	limit time.Duration // from power on to power off, without KVM
}

func suites() []suite {
	return []suite{
		{name: "smoke", smoke: true, alone: true, tests: "^(TestVerifier|TestAttach|TestDemo)", nics: nics(), limit: 10 * time.Minute},
		{name: "verifier", tests: "^(TestVerifier|TestAttach)", nics: nics(), limit: 6 * time.Minute},
		{name: "demo", tests: "^TestDemo", alone: true, limit: 16 * time.Minute},
		{name: "packets", pkg: "weir/bpf", tests: "^Test", skip: "TestReplays", short: true, limit: 30 * time.Minute},
		{name: "dataplane", pkg: "weir/loader/dataplane", tests: "^Test", skip: "TestOperations", short: true, limit: 30 * time.Minute},
		{name: "decap", pkg: "weir/bpf/decap", tests: "^Test", limit: 10 * time.Minute},
		{name: "agent", pkg: "weir/agent/dsr", tests: "^Test", limit: 10 * time.Minute},
		{name: "tunnels", pkg: "weir/agent/e2e", tests: "^Test", skip: "HAProxy", whole: true, alone: true, limit: 20 * time.Minute},
		{name: "carry", pkg: "weir/cmd/weir/carry", tests: "^Test", skip: "OverVLANs|OverBonds", whole: true, alone: true, limit: 30 * time.Minute},
		{name: "vlan", pkg: "weir/cmd/weir/carry", tests: "OverVLANs", whole: true, alone: true, limit: 20 * time.Minute},
		{name: "bond", pkg: "weir/cmd/weir/carry", tests: "OverBonds", whole: true, alone: true, limit: 20 * time.Minute},
		{name: "nexthop", pkg: "weir/loader/nexthop", tests: "^Test", limit: 10 * time.Minute},
		{name: "sockets", pkg: "weir/l7/tier", tests: "^TestManyWebSockets$", whole: true, alone: true, limit: 20 * time.Minute},
		{name: "upgrade", pkg: "weir/cmd/weir/e2e", tests: "^(TestKill|TestRestarts)$", whole: true, alone: true, limit: 20 * time.Minute},
		{name: "e2e", pkg: "weir/cmd/weir/e2e", tests: "^(TestUDP|TestNonVIP|TestUnload|TestACL|TestNewFlowsPerSource|TestCapture)$", alone: true, limit: 30 * time.Minute},
	}
}

// taps is how many there were, so that machines that run beside each other have
// different ones.
var taps atomic.Uint32

// nics are two on one hub, and one with several queues if the host can.
func nics() []qemu.NIC {
	n := []qemu.NIC{{Hub: 0, Queues: 1}, {Hub: 0, Queues: 1}}
	if tun, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err == nil {
		tun.Close()
		// A pair for each of the guest's CPUs to receive on, and one more
		// for each to send with XDP_TX.
		n = append(n, qemu.NIC{Tap: fmt.Sprintf("wvm%d.%d", os.Getpid(), taps.Add(1)), Queues: 2 * cpus})
	}
	return n
}

const (
	cpus      = 2
	memoryMiB = 1024
)

// run is what came of a machine. The error says why it is worth nothing as a
// whole; the tests in the report may have failed either way.
type run struct {
	report results.Report
	out    qemu.Output
	err    error
	failed []run // boots before this one
}

// Under TCG a processor may see a breakpoint of a kernel that patches itself after
// the patch is done. A kernel with several dies of it (seen once: "Oops: int3"), or
// perhaps waits for ever (seen once: both were busy, and silent for 20 minutes).
const (
	// bootTries is how often a machine is started whose kernel dies or is
	// silent before its first process says a word.
	bootTries = 3
	// bootLimit is how long it may be silent. Boots take 5 to 10 s.
	bootLimit = time.Minute
)

// boot runs a suite's tests in a machine of its own.
func (s suite) boot(ctx context.Context, m qemu.Machine) run {
	m.CPUs, m.MemoryMiB, m.NICs = cpus, memoryMiB, s.nics
	m.Args = []string{"-test.v=test2json", "-test.run=" + s.tests}
	if s.smoke || s.short {
		m.Args = append(m.Args, "-test.short")
	}
	if s.skip != "" {
		m.Args = append(m.Args, "-test.skip="+s.skip)
	}
	m.Boot = cmp.Or(m.Boot, bootLimit)
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	var failed []run
	for {
		r := start(ctx, m)
		if len(r.out.Results) > 0 || ctx.Err() != nil || len(failed) == bootTries-1 {
			r.failed = failed
			return r
		}
		failed = append(failed, r)
	}
}

func start(ctx context.Context, m qemu.Machine) run {
	out, err := m.Run(ctx)
	r := run{report: results.Parse(out.Results), out: out, err: err}
	if err == nil {
		r.err = r.report.Err()
	}
	return r
}
