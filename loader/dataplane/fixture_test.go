package dataplane

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
)

// testConfig is small enough to fill, with pins of its own.
func testConfig(t *testing.T) lb.Config {
	t.Helper()
	dir := filepath.Join("/sys/fs/bpf", "weir-test-"+filepath.Base(t.TempDir())+"-"+strings.ReplaceAll(t.Name()[len("Test"):], "/", "-"))
	t.Cleanup(func() {
		if _, err := Unload(dir, true); err != nil {
			t.Errorf("clean up %s: %v", dir, err)
		}
	})
	return lb.Config{
		PinDir:   dir,
		Limits:   lb.Limits{Services: 16, Backends: 64, Flows: 4096, TableEntries: 1 << 18},
		Timeouts: lb.Timeouts{Embryonic: 30 * time.Second, Established: 15 * time.Minute, Closing: time.Minute, UDP: time.Minute},
	}
}

func openTest(t *testing.T, o Options) *DataPlane {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loading programs needs root")
	}
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func mustVIP(t *testing.T, s string) lb.VIP {
	t.Helper()
	v, err := lb.ParseVIP(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

var testHop = lb.NextHop{IfIndex: 1, SrcMAC: [6]byte{2, 0, 0, 0, 0, 1}, DstMAC: [6]byte{2, 0, 0, 0, 0, 2}, MTU: 1500}

// stateOf is one service whose table names each backend in turn.
func stateOf(t *testing.T, vip string, forward lb.Forward, algorithm lb.Algorithm, endpoints ...string) lb.State {
	t.Helper()
	s := lb.ServiceState{Service: lb.Service{Name: "test", VIP: mustVIP(t, vip), Forward: forward, Pool: "pool"}}
	table := lb.Table{Algorithm: algorithm}
	for i, e := range endpoints {
		s.Backends = append(s.Backends, lb.BackendState{Endpoint: netip.MustParseAddrPort(e), Effective: lb.EffectiveUnit, Hop: testHop})
		table.Slots = append(table.Slots, uint32(i))
	}
	return lb.State{Services: []lb.ServiceState{s}, Tables: []lb.Table{table}}
}
