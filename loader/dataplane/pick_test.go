package dataplane

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"weir/loader/lb"
	"weir/loader/table"
)

// The entry that the program picks by hash is the one that the seed, the
// 5-tuple and the table's size give here: nodes that share a seed agree.
func TestPickByHash(t *testing.T) {
	c := testConfig(t)
	c.Seed, c.Limits.Backends = 0x5eed, 200
	d := openTest(t, Options{Config: c})
	r := rand.New(rand.NewPCG(5, 6))
	for _, size := range []int{1, 2, 3, 251, 65537} {
		for _, vip := range []string{"192.0.2.1:80/tcp", "[2001:db8::1]:80/tcp"} {
			s := pickState(t, vip, size)
			if err := d.Apply(s); err != nil {
				t.Fatal(err)
			}
			for range 200 {
				checkPick(t, d, s, tuple{
					src: randomAddr(r, s.Services[0].Service.VIP.Addr), dst: s.Services[0].Service.VIP.Addr,
					sport: uint16(r.Uint32()), dport: 80, proto: lb.TCP,
				})
			}
		}
	}
}

// pickState is a service with 50 backends whose table is of some size, with
// backends in no order.
func pickState(t *testing.T, vip string, size int) lb.State {
	t.Helper()
	s := stateOf(t, vip, lb.DSR, lb.Maglev)
	for i := range 50 {
		a := netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})
		if s.Services[0].Service.VIP.Addr.Is6() {
			a = netip.AddrFrom16([16]byte{0xfd, 15: byte(i)})
		}
		s.Services[0].Backends = append(s.Services[0].Backends, lb.BackendState{Endpoint: netip.AddrPortFrom(a, 0), Hop: testHop})
	}
	for i := range size {
		s.Tables[0].Slots = append(s.Tables[0].Slots, uint32(i*i+i/7)%50)
	}
	return s
}

func checkPick(t *testing.T, d *DataPlane, s lb.State, flow tuple) {
	t.Helper()
	src, dst := netip.AddrPortFrom(flow.src, flow.sport), netip.AddrPortFrom(flow.dst, flow.dport)
	in := syn(src, dst)
	if flow.src.Is6() {
		in = syn6(src, dst)
	}
	if v, _ := run(t, d, in); v != xdpTX {
		t.Fatalf("verdict %d, want TX", v)
	}
	got, found, err := d.FindFlow(lb.FlowKey{Src: src, Dst: dst, Proto: flow.proto})
	if err != nil || !found {
		t.Fatalf("%s: no flow (%v)", src, err)
	}
	key := pickKey(d.config.Seed)
	slots := s.Tables[0].Slots
	index := (flow.hash(&key) >> 32) * uint64(len(slots)) >> 32
	if want := s.Services[0].Backends[slots[index]].Endpoint; got.Endpoint != want {
		t.Errorf("%s of a table of %d: %s, want %s at index %d", src, len(slots), got.Endpoint, want, index)
	}
}

// syn6 is syn over IPv6.
func syn6(src, dst netip.AddrPort) []byte {
	tcp := syn(netip.AddrPortFrom(netip.IPv4Unspecified(), src.Port()), netip.AddrPortFrom(netip.IPv4Unspecified(), dst.Port()))[14+20:]
	b := make([]byte, 14+40, 14+40+len(tcp))
	b[12], b[13] = 0x86, 0xdd
	b[14], b[14+5], b[14+6], b[14+7] = 0x60, byte(len(tcp)), byte(lb.TCP), 64
	copy(b[14+8:], src.Addr().AsSlice())
	copy(b[14+24:], dst.Addr().AsSlice())
	return append(b, tcp...)
}

func randomAddr(r *rand.Rand, like netip.Addr) netip.Addr {
	b := like.AsSlice()
	for i := range b {
		b[i] = uint8(r.Uint32())
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Random draws two of any pool, however small, and shares by weight.
func TestRandomDrawsTwo(t *testing.T) {
	d := openTest(t, Options{Config: testConfig(t)})
	s := stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.Random, "10.0.0.1:80", "10.0.0.2:80")
	weights := []lb.EffectiveWeight{64, 192}
	slots, err := table.Random(weights)
	if err != nil {
		t.Fatal(err)
	}
	s.Tables[0].Slots = slots
	if err := d.Apply(s); err != nil {
		t.Fatal(err)
	}
	const flows = 400
	counts := map[netip.Addr]int{}
	for i := range uint16(flows) {
		src, dst := netip.AddrPortFrom(client.Addr(), 10000+i), netip.AddrPortFrom(s.Services[0].Service.VIP.Addr, 80)
		run(t, d, syn(src, dst))
		f, found, err := d.FindFlow(lb.FlowKey{Src: src, Dst: dst, Proto: lb.TCP})
		if err != nil || !found {
			t.Fatalf("%s: no flow (%v)", src, err)
		}
		counts[f.Endpoint.Addr()]++
	}
	if n := counts[netip.MustParseAddr("10.0.0.1")]; n < flows/5 || n > flows*3/10 {
		t.Errorf("a backend with a quarter of the weight has %d of %d flows", n, flows)
	}
	probe := lb.Probe{FlowKey: lb.FlowKey{Src: netip.MustParseAddrPort("198.51.100.99:9"), Dst: netip.MustParseAddrPort("192.0.2.1:80"), Proto: lb.TCP}}
	e, err := d.Explain(probe)
	if err != nil || len(e.Differing) > 0 || e.Pick == nil || e.Pick.Picker != "least of two" || len(e.Pick.Candidates) != 2 {
		t.Errorf("explained as %+v, %v", e, err)
	}
}
