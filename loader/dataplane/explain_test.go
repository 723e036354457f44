package dataplane

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"weir/bpf"
	"weir/loader/lb"
	"weir/loader/table"
)

var explainVIPs = []string{"192.0.2.1:80/tcp", "[2001:db8::1]:53/udp", "192.0.2.1:*/udp", "[2001:db8::1]:*/tcp"}

func explainConfig(t *testing.T) lb.Config {
	c := testConfig(t)
	c.Seed, c.Limits.Backends = 0x5eed, 4096
	c.Tunnel = lb.Tunnel{GUEPort: 6080, Source4: netip.MustParsePrefix("10.250.0.0/16"), Source6: netip.MustParsePrefix("fd00:250::/64")}
	c.SNAT = lb.SNATSources{
		Source4: []netip.Addr{netip.MustParseAddr("10.9.0.7"), netip.MustParseAddr("10.9.0.8")},
		Source6: []netip.Addr{netip.MustParseAddr("2001:db8:9::7")},
	}
	return c
}

// explainState is a service with n backends of weights 1, 2, 3 and so on. A
// tunnel's are of the other family.
func explainState(t *testing.T, vip string, f lb.Forward, a lb.Algorithm, n int) lb.State {
	t.Helper()
	s := stateOf(t, vip, f, a)
	is6 := s.Services[0].Service.VIP.Addr.Is6() != f.Tunnel()
	port := uint16(8080)
	if f.KeepsPacket() || s.Services[0].Service.VIP.Port == 0 {
		port = 0
	}
	var entries []table.Entry
	for i := range n {
		addr := netip.AddrFrom4([4]byte{10, 0, 1, byte(i + 1)})
		if is6 {
			addr = netip.AddrFrom16([16]byte{0xfd, 15: byte(i + 1)})
		}
		hop := testHop
		hop.IfIndex, hop.DstMAC[5] = 1+i%2, byte(i)
		b := lb.BackendState{Endpoint: netip.AddrPortFrom(addr, port), Effective: lb.EffectiveUnit * lb.EffectiveWeight(i%3+1), Hop: hop}
		s.Services[0].Backends = append(s.Services[0].Backends, b)
		entries = append(entries, table.Entry{ID: b.Endpoint.String(), Weight: b.Effective})
	}
	var err error
	if s.Tables[0], err = table.Build(a, entries, 251, 7); err != nil {
		t.Fatal(err)
	}
	return s
}

// What is explained is what the second program does, and then what the first
// one does with the same packet: for new flows, known ones and later packets.
// Each explanation loads a program: where that takes seconds, fewer.
func TestExplainAgrees(t *testing.T) {
	d := openTest(t, Options{Config: explainConfig(t)})
	r := rand.New(rand.NewPCG(1, 2))
	algorithms := []lb.Algorithm{lb.Maglev, lb.RoundRobin, lb.WeightedRoundRobin, lb.LeastConn}
	for i, f := range []lb.Forward{lb.DSR, lb.NAT, lb.IPIP, lb.GUE, lb.SNAT} {
		for j, vip := range explainVIPs {
			if testing.Short() && i%len(explainVIPs) != j {
				continue
			}
			n, a := 5+35*((i+j)%2), algorithms[(i+j)%len(algorithms)]
			t.Run(fmt.Sprintf("%s/%d/%s/%d", f, j, a, n), func(t *testing.T) {
				if err := d.Apply(explainState(t, vip, f, a, n)); err != nil {
					t.Fatal(err)
				}
				explainFlow(t, d, randomProbe(r, mustVIP(t, vip)))
			})
		}
	}
}

// Frames that leave by an interface that tags have its tags.
func TestExplainTags(t *testing.T) {
	d := openTest(t, Options{Config: explainConfig(t)})
	r := rand.New(rand.NewPCG(5, 6))
	s := explainState(t, explainVIPs[0], lb.IPIP, lb.Maglev, 4) // by interfaces 1 and 2
	s.VLANs = []lb.VLAN{
		{IfIndex: 1, Below: 3, Tags: [lb.MaxTags]lb.Tag{{Kind: 0x88a8, ID: 12}, {Kind: 0x8100, ID: 4094}}},
		{IfIndex: 2, Below: 3, Tags: [lb.MaxTags]lb.Tag{{Kind: 0x8100, ID: 7}}},
	}
	if err := d.Apply(s); err != nil {
		t.Fatal(err)
	}
	want := map[int]string{1: "[12 4094]", 2: "[7]"}
	seen := map[int]bool{}
	for range 32 {
		if len(seen) == len(want) {
			return
		}
		p := randomProbe(r, mustVIP(t, explainVIPs[0]))
		explainFlow(t, d, p)
		b := explainPacket(t, d, p).Backend
		seen[b.Interface] = true
		if got := fmt.Sprint(b.VLANs); got != want[b.Interface] {
			t.Fatalf("by interface %d with tags %s, want %s", b.Interface, got, want[b.Interface])
		}
	}
	t.Errorf("frames leave only by %v", seen)
}

func TestExplainPickers(t *testing.T) {
	d := openTest(t, Options{Config: explainConfig(t)})
	r := rand.New(rand.NewPCG(3, 4))
	for _, a := range []lb.Algorithm{lb.Maglev, lb.RoundRobin, lb.WeightedRoundRobin, lb.LeastConn} {
		for _, n := range []int{3, 50} {
			if err := d.Apply(explainState(t, explainVIPs[0], lb.DSR, a, n)); err != nil {
				t.Fatal(err)
			}
			explainFlow(t, d, randomProbe(r, mustVIP(t, explainVIPs[0])))
		}
	}
}

func randomProbe(r *rand.Rand, vip lb.VIP) lb.Probe {
	port := vip.Port
	if port == 0 {
		port = uint16(r.Uint32() | 1)
	}
	return lb.Probe{Ack: r.IntN(4) == 0, FlowKey: lb.FlowKey{
		Src: netip.AddrPortFrom(randomAddr(r, vip.Addr), uint16(r.Uint32())),
		Dst: netip.AddrPortFrom(vip.Addr, port), Proto: vip.Proto,
	}}
}

// explainFlow explains a new flow's packet, sends it, and explains the next.
func explainFlow(t *testing.T, d *DataPlane, p lb.Probe) {
	t.Helper()
	e := explainPacket(t, d, p)
	if _, stored, err := d.FindFlow(p.FlowKey); err != nil || stored || e.Expected.Verdict != "sent" || e.Flow != nil {
		t.Fatalf("%+v: explaining stored a flow (%v), or does not send: %+v", p, err, e)
	}
	if _, out := run(t, d, probeFrame(p)); string(out) != string(e.Expected.Frame) {
		t.Fatalf("%+v: the first program sends\n%x, explained was\n%x", p, out, e.Expected.Frame)
	}
	p.Ack = true
	known := explainPacket(t, d, p)
	if known.Flow == nil || known.Reopens || known.Backend.ID != e.Backend.ID {
		t.Fatalf("%+v: not explained as a known flow of backend %d: %+v", p, e.Backend.ID, known)
	}
}

func explainPacket(t *testing.T, d *DataPlane, p lb.Probe) lb.Explanation {
	t.Helper()
	e, err := d.Explain(p)
	if err != nil {
		t.Fatal(err)
	}
	if len(e.Differing) > 0 {
		t.Fatalf("%+v: %q", p, e.Differing)
	}
	return e
}

func probeFrame(p lb.Probe) []byte {
	return (&situation{tuple: tupleOf(p.FlowKey), ack: p.Ack}).probe()
}

func TestExplainRefusals(t *testing.T) {
	d := openTest(t, Options{Config: explainConfig(t)})
	s := explainState(t, explainVIPs[0], lb.NAT, lb.Maglev, 2)
	s.Services[0].Backends[0].Hop, s.Services[0].Backends[1].Hop = lb.NextHop{}, lb.NextHop{}
	probe := lb.Probe{FlowKey: lb.FlowKey{Src: client, Dst: web, Proto: lb.TCP}}
	expect := func(verdict, reason string) {
		t.Helper()
		if e := explainPacket(t, d, probe); e.Expected.Verdict != verdict || e.Expected.Reason != reason {
			t.Errorf("%+v, want %s %s", e.Expected, verdict, reason)
		}
	}
	apply := func() {
		t.Helper()
		if err := d.Apply(s); err != nil {
			t.Fatal(err)
		}
	}
	expect("pass", "not_vip")
	apply()
	expect("drop", "no_next_hop")
	s = stateOf(t, explainVIPs[0], lb.NAT, lb.Maglev)
	apply()
	expect("drop", "no_backend")
	s.Services[0].Service.Forward = lb.L7
	apply()
	expect("pass", "local")
	s = explainState(t, explainVIPs[0], lb.IPIP, lb.Maglev, 1)
	s.Services[0].Backends[0].Hop.MTU = 50
	apply()
	expect("drop", "too_big")
	s = explainState(t, explainVIPs[0], lb.SNAT, lb.Maglev, 1)
	apply()
	fillSNAT(d)
	expect("drop", "snat_exhausted")
	if _, err := d.Explain(lb.Probe{FlowKey: lb.FlowKey{Src: netip.MustParseAddrPort("[2001:db8::2]:1"), Dst: web, Proto: lb.TCP}}); err == nil {
		t.Error("two families: no error")
	}
}

// fillSNAT has a live flow hold each source.
func fillSNAT(d *DataPlane) {
	for i := range d.mem.snat {
		d.mem.snat[i] = liveSet(d)
	}
}

func liveSet(d *DataPlane) (set bpf.WeirFlowSet) {
	for i := range set.Word {
		set.Word[i] = 0xfeed<<flowTagShift | uint64(d.clock.now())<<flowTimeShift | uint64(bpf.WeirFlowStateFLOW_ESTABLISHED)
	}
	return set
}

// A flow that finds no room is picked by hash, and that is said.
func TestExplainFullTable(t *testing.T) {
	d := openTest(t, Options{Config: explainConfig(t)})
	if err := d.Apply(explainState(t, explainVIPs[0], lb.DSR, lb.RoundRobin, 3)); err != nil {
		t.Fatal(err)
	}
	for i := range d.mem.flows {
		d.mem.flows[i] = liveSet(d)
	}
	e := explainPacket(t, d, lb.Probe{FlowKey: lb.FlowKey{Src: client, Dst: web, Proto: lb.TCP}})
	if e.Pick.Turn || e.Pick.Steady == "" {
		t.Errorf("not picked by hash: %+v", e.Pick)
	}
}

// What the program does otherwise than expected is said: a backend entry that
// has another checksum than its addresses give.
func TestExplainDiffers(t *testing.T) {
	d := openTest(t, Options{Config: explainConfig(t)})
	if err := d.Apply(explainState(t, explainVIPs[0], lb.NAT, lb.Maglev, 1)); err != nil {
		t.Fatal(err)
	}
	for id := range d.registry.backends {
		d.mem.backends[id].L4Delta++
	}
	e, err := d.Explain(lb.Probe{FlowKey: lb.FlowKey{Src: client, Dst: web, Proto: lb.TCP}})
	if err != nil || len(e.Differing) != 1 {
		t.Errorf("%q, %v; want one difference", e.Differing, err)
	}
}
