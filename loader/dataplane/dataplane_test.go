package dataplane

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"weir/loader/lb"
)

const xdpTX = 3

// syn is an Ethernet frame with an IPv4 TCP SYN.
func syn(src, dst netip.AddrPort) []byte {
	b := make([]byte, 14+20+20)
	b[12], b[13] = 8, 0
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], 40)
	copy(ip[12:], src.Addr().AsSlice())
	copy(ip[16:], dst.Addr().AsSlice())
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	tcp[12], tcp[13] = 5<<4, 2
	return b
}

func run(t *testing.T, d *DataPlane, in []byte) (uint32, []byte) {
	t.Helper()
	out := make([]byte, len(in)+256)
	opts := ebpf.RunOptions{Data: in, DataOut: out}
	v, err := d.Program().Run(&opts)
	if err != nil {
		t.Fatal(err)
	}
	return v, opts.DataOut
}

var (
	client = netip.MustParseAddrPort("10.1.2.3:40000")
	web    = netip.MustParseAddrPort("192.0.2.1:80")
)

func TestAdoptKeepsFlowsCountersAndIDs(t *testing.T) {
	c := testConfig(t)
	d := openTest(t, Options{Config: c})
	want := stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
	if err := d.Apply(want); err != nil {
		t.Fatal(err)
	}
	if v, _ := run(t, d, syn(client, web)); v != xdpTX {
		t.Fatalf("verdict %d, want TX", v)
	}
	before, _, err := d.FindFlow(lb.FlowKey{Src: client, Dst: web, Proto: lb.TCP})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Config: c}); !errors.Is(err, ErrInUse) {
		t.Fatalf("second Open: %v, want ErrInUse", err)
	}
	ids := d.Info().Maps
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	d = openTest(t, Options{Config: c})
	if !d.Info().Adopted {
		t.Error("not adopted")
	}
	for i, m := range d.Info().Maps {
		if m != ids[i] {
			t.Errorf("map %s has id %d, had %d", m.Name, m.ID, ids[i].ID)
		}
	}
	after, found, err := d.FindFlow(lb.FlowKey{Src: client, Dst: web, Proto: lb.TCP})
	if err != nil || !found {
		t.Fatalf("flow is gone (%v)", err)
	}
	after.Idle = before.Idle
	if after != before {
		t.Errorf("flow is %+v, was %+v", after, before)
	}
	counters, err := d.Counters()
	if err != nil {
		t.Fatal(err)
	}
	var flows, active uint64
	for _, b := range counters.Backends {
		flows += b.Flows
		active += b.Active
	}
	if len(counters.Backends) != 3 || flows != 1 || active != 1 {
		t.Errorf("%d backends, %d flows, %d active; want 3, 1, 1", len(counters.Backends), flows, active)
	}
}

func TestFlowsFinishOnARemovedBackend(t *testing.T) {
	d := openTest(t, Options{Config: testConfig(t)})
	if err := d.Apply(stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:80")); err != nil {
		t.Fatal(err)
	}
	run(t, d, syn(client, web))
	if err := d.Apply(stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.2:80")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
	ack := syn(client, web)
	ack[14+20+13] = 0x10
	if v, _ := run(t, d, ack); v != xdpTX {
		t.Fatalf("verdict %d, want TX", v)
	}
	f, found, _ := d.FindFlow(lb.FlowKey{Src: client, Dst: web, Proto: lb.TCP})
	if !found || f.Endpoint != netip.MustParseAddrPort("10.0.0.1:80") {
		t.Fatalf("flow moved to %v (found %v)", f.Endpoint, found)
	}
	rst := syn(client, web)
	rst[14+20+13] = 0x04
	run(t, d, rst)
	for i := range d.mem.flows {
		d.mem.flows[i].Word = [8]uint64{}
	}
	if _, err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
	counters, _ := d.Counters()
	if len(counters.Backends) != 1 || counters.Backends[0].Endpoint.Addr() != netip.MustParseAddr("10.0.0.2") {
		t.Errorf("after its last flow the backend is still there: %+v", counters.Backends)
	}
	if counters.Backends[0].Active != 0 {
		t.Errorf("active %d", counters.Backends[0].Active)
	}
}

func TestApplyRefusedWhole(t *testing.T) {
	c := testConfig(t)
	c.Limits.Backends = 2
	d := openTest(t, Options{Config: c})
	good := stateOf(t, "192.0.2.1:80/tcp", lb.NAT, lb.RoundRobin, "10.0.0.1:80", "10.0.0.2:80")
	if err := d.Apply(good); err != nil {
		t.Fatal(err)
	}
	before, _ := d.Counters()
	bad := stateOf(t, "192.0.2.9:80/tcp", lb.NAT, lb.RoundRobin, "10.0.0.8:80", "10.0.0.9:80")
	if err := d.Apply(bad); err == nil {
		t.Fatal("no error for more backends than limits.backends")
	}
	after, _ := d.Counters()
	if len(after.Backends) != len(before.Backends) {
		t.Errorf("%d backends after a refused state, %d before", len(after.Backends), len(before.Backends))
	}
	if v, _ := run(t, d, syn(client, web)); v != xdpTX {
		t.Errorf("old service: verdict %d, want TX", v)
	}
	if err := d.Apply(good); err != nil {
		t.Error(err)
	}
}

func TestConfigureRefusedWhole(t *testing.T) {
	c := testConfig(t)
	d := openTest(t, Options{Config: c})
	program, idle := d.Program(), d.idle
	next := c
	next.Seed, next.Timeouts.UDP, next.Interfaces = 7, time.Hour, []string{"weir-no-such"}
	if err := d.Configure(next); err == nil {
		t.Fatal("no error for an interface that does not exist")
	}
	if d.Program() != program || d.idle != idle || d.config.Seed != c.Seed {
		t.Error("seed and timeouts of a refused configuration are in force")
	}
}

func TestRefusedStartKeepsTheProgram(t *testing.T) {
	c := testConfig(t)
	c.Interfaces, c.XDPMode = []string{"lo"}, lb.XDPGeneric
	d := openTest(t, Options{Config: c})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := Inspect(c)
	if err != nil {
		t.Fatal(err)
	}
	next := c
	next.Interfaces = []string{"lo", "weir-no-such"}
	if _, err := Open(Options{Config: next}); err == nil {
		t.Fatal("no error for an interface that does not exist")
	}
	after, err := Inspect(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(before.Links) != 1 || after.Links["lo"] != before.Links["lo"] {
		t.Errorf("lo runs %+v, ran %+v", after.Links["lo"], before.Links["lo"])
	}
}
