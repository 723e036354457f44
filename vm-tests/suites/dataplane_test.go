package suites

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"weir/loader/dataplane"
	"weir/loader/lb"
)

const pinDir = "/sys/fs/bpf/weir-vm"

// config is what an operator has who configures no limits, on these interfaces
// in native mode.
func config(interfaces ...string) lb.Config {
	return lb.Config{
		Interfaces: interfaces,
		XDPMode:    lb.XDPNative,
		PinDir:     pinDir,
		Limits:     lb.Limits{Services: 1024, Backends: 4096, Flows: 1_000_000, TableEntries: 1 << 20},
		Timeouts:   lb.Timeouts{Embryonic: 30 * time.Second, Established: 15 * time.Minute, Closing: time.Minute, UDP: time.Minute},
		Tunnel:     lb.Tunnel{GUEPort: 6080, Source4: netip.MustParsePrefix("172.16.0.0/16"), Source6: netip.MustParsePrefix("100::/64")},
		SNAT:       lb.SNATSources{Source4: []netip.Addr{netip.MustParseAddr("10.0.0.5")}},
	}
}

// open opens a data plane that is unloaded when the test ends.
func open(t *testing.T, c lb.Config) *dataplane.DataPlane {
	t.Helper()
	d, err := dataplane.Open(dataplane.Options{Config: c})
	accepted(t, err)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if _, err := dataplane.Unload(c.PinDir, false); err != nil {
			t.Error(err)
		}
	})
	return d
}

// How many lines of a verifier's log a failure shows.
const logTail = 30

// accepted ends the test on an error, with the end of the verifier's log.
func accepted(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var refused *ebpf.VerifierError
	if errors.As(err, &refused) {
		lines := refused.Log[max(0, len(refused.Log)-logTail):]
		t.Logf("the verifier's log, %d lines, ends with:\n%s", len(refused.Log), strings.Join(lines, "\n"))
	}
	t.Fatal(err)
}

// everyMode is a service of each forwarding mode, so that the program has
// every feature, with one backend behind hop.
func everyMode(hop lb.NextHop) lb.State {
	s := lb.State{
		Tables: []lb.Table{{Algorithm: lb.Maglev, Slots: []uint32{0}}},
		VLANs:  []lb.VLAN{{IfIndex: 1000, Below: 1, Tags: [lb.MaxTags]lb.Tag{{Kind: unix.ETH_P_8021Q, ID: 5}}}},
	}
	s.ACL, _ = lb.NewACL(nil, nil, false)
	for i, forward := range []lb.Forward{lb.DSR, lb.NAT, lb.SNAT, lb.IPIP, lb.GUE, lb.L7} {
		service := lb.ServiceState{Service: lb.Service{
			Name:    forward.String(),
			VIP:     lb.VIP{Addr: vip, Port: uint16(80 + i), Proto: lb.TCP},
			Forward: forward, NewFlowsPerSource: lb.FlowLimit{Rate: 1000, Burst: 1000}, MaxNewFlows: 1000, MSS: 1400,
		}}
		if forward != lb.L7 {
			service.Service.Pool = "web"
			service.Backends = []lb.BackendState{{
				Endpoint:  netip.AddrPortFrom(backend, uint16(80+i)),
				Effective: lb.EffectiveUnit,
				Hop:       hop,
			}}
		}
		s.Services = append(s.Services, service)
	}
	return s
}

var (
	vip     = netip.MustParseAddr("192.0.2.1")
	backend = netip.MustParseAddr("10.0.0.2")
)

// cost says what the verifier did for the loaded program.
func cost(t *testing.T, d *dataplane.DataPlane) string {
	t.Helper()
	info, err := d.Program().Info()
	if err != nil {
		t.Fatal(err)
	}
	verified, _ := info.VerifiedInstructions()
	if verified == 0 {
		t.Error("the kernel does not say how many instructions it verified")
	}
	size, err := info.TranslatedSize()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d instructions verified, %d long", verified, size/8)
}

// TestVerifier: the kernel takes the program, with no feature and with all.
func TestVerifier(t *testing.T) {
	began := time.Now()
	d := open(t, config())
	t.Logf("least program: %s; opened in %s", cost(t, d), time.Since(began).Round(time.Millisecond))
	least := d.Program()
	began = time.Now()
	accepted(t, d.Apply(everyMode(lb.NextHop{})))
	t.Logf("every feature: %s; applied in %s", cost(t, d), time.Since(began).Round(time.Millisecond))
	if d.Program() == least {
		t.Error("the program is still the one without features")
	}
}
