package dataplane

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/bpf"
	"weir/loader/lb"
)

// checkHolds compares what the kernel's maps hold, to the last entry, with a
// state. It reads the maps themselves and believes nothing that the data plane
// remembers.
func checkHolds(t *testing.T, d *DataPlane, want lb.State) {
	t.Helper()
	vips, marks := map[bpf.WeirVipKey]uint32{}, map[bpf.WeirVipKey]bool{}
	var key bpf.WeirVipKey
	var index uint32
	it := d.maps.Vips.Iterate()
	for it.Next(&key, &index) {
		if key.Pad == 0 {
			vips[key] = index
		} else {
			marks[key] = true
		}
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	if len(vips) != len(want.Services) {
		t.Errorf("%d VIPs, want %d", len(vips), len(want.Services))
	}
	wantMarks := map[bpf.WeirVipKey]bool{}
	inUse := map[uint32]bool{}
	for _, s := range want.Services {
		index, ok := vips[vipKey(s.Service.VIP)]
		if !ok {
			t.Errorf("no VIP %s", s.Service.VIP)
			continue
		}
		if wrong := d.serviceDiffers(index, s, want.Tables, inUse); wrong != "" {
			t.Errorf("service %s: %s", s.Service.VIP, wrong)
		}
		for _, proto := range []lb.Proto{0, s.Service.VIP.Proto} {
			mark := vipKey(lb.VIP{Addr: s.Service.VIP.Addr, Proto: proto})
			mark.Pad = vipMark
			wantMarks[mark] = true
		}
	}
	if !maps.Equal(marks, wantMarks) {
		t.Errorf("%d marks, want %d, or others", len(marks), len(wantMarks))
	}
	checkReals(t, d)
	for id, b := range d.registry.backends {
		_, listed := d.registry.retired[id]
		if b.retired == inUse[id] || b.retired != listed {
			t.Errorf("backend %d (%s): in use %v, retired %v, listed as such %v", id, b.key.endpoint, inUse[id], b.retired, listed)
		}
	}
}

// serviceDiffers says in what a service in the maps differs, and notes the
// backend ids that it sends to.
func (d *DataPlane) serviceDiffers(index uint32, want lb.ServiceState, tables []lb.Table, inUse map[uint32]bool) string {
	raw := d.mem.services[index]
	vip := lb.VIP{Addr: addrOf(raw.Vip.Word), Port: wirePort(raw.Port), Proto: lb.Proto(raw.Proto)}
	if vip != want.Service.VIP || lb.Forward(raw.Forward) != want.Service.Forward {
		return fmt.Sprintf("is %s by %s, want %s", vip, lb.Forward(raw.Forward), want.Service.Forward)
	}
	a := d.registry.arena
	table, members := uint32(raw.Ref), uint32(raw.Ref>>32)
	if want.Service.Forward == lb.L7 {
		if len(a.region(table)) > 0 || len(a.region(members)) > 0 {
			return "has a table or members, and is l7"
		}
		return ""
	}
	if t := tables[want.Table]; !a.is(table, tableHead(t), t.Slots) {
		return fmt.Sprintf("has another table, of %d entries, want %d", len(a.region(table)), len(t.Slots))
	}
	ids := a.region(members)
	if len(ids) != len(want.Backends) {
		return fmt.Sprintf("has %d backends, want %d", len(ids), len(want.Backends))
	}
	for slot, id := range ids {
		inUse[id] = true
		b, w := d.mem.backends[id], want.Backends[slot]
		endpoint := netip.AddrPortFrom(addrOf(b.Addr.Word), wirePort(b.Port))
		hop := lb.NextHop{IfIndex: int(b.Ifindex), SrcMAC: b.SrcMac, DstMAC: b.DstMac, MTU: int(b.Mtu)}
		if endpoint != w.Endpoint || hop != w.Hop || lb.Forward(b.Forward) != want.Service.Forward ||
			b.Vip.Word != raw.Vip.Word || b.VipPort != raw.Port || b.Proto != raw.Proto {
			return fmt.Sprintf("slot %d, backend id %d, is %s by %s over %+v, want %s over %+v", slot, id, endpoint, lb.Forward(b.Forward), hop, w.Endpoint, w.Hop)
		}
	}
	return ""
}

// checkReals compares the map that recognises replies with the backends.
func checkReals(t *testing.T, d *DataPlane) {
	t.Helper()
	want := d.realOwners()
	var key bpf.WeirRealKey
	var id uint32
	it, n := d.maps.Reals.Iterate(), 0
	for it.Next(&key, &id) {
		n++
		if !slices.Contains(want[key], id) {
			t.Errorf("real %v leads to backend %d, want one of %v", key, id, want[key])
		}
	}
	if err := it.Err(); err != nil || n != len(want) {
		t.Errorf("%d reals, want %d (%v)", n, len(want), err)
	}
}

// randomState has up to four services over up to three pools. It takes pools
// over from a state before, as memory or as a copy, as control does.
func randomState(random *rand.Rand, before lb.State) lb.State {
	pick := func(n int) int { return random.IntN(n) }
	var st lb.State
	type pool struct {
		table    int
		backends []lb.BackendState
	}
	var pools []pool
	for _, s := range before.Services {
		if s.Service.Forward == lb.L7 || pick(3) == 0 {
			continue
		}
		t, backends := before.Tables[s.Table], s.Backends
		if pick(3) == 0 {
			t.Slots, backends = slices.Clone(t.Slots), slices.Clone(backends)
		}
		if pick(4) == 0 {
			backends = slices.Clone(backends)
			backends[pick(len(backends))].Hop.MTU = 1000 + pick(500)
		}
		pools = append(pools, pool{len(st.Tables), backends})
		st.Tables = append(st.Tables, t)
	}
	for range 1 + pick(2) {
		p := pool{table: len(st.Tables)}
		for _, host := range random.Perm(6)[:1+pick(5)] {
			p.backends = append(p.backends, lb.BackendState{
				Endpoint: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(host)}), 80), Effective: lb.EffectiveUnit, Hop: testHop,
			})
		}
		t := lb.Table{Algorithm: lb.RoundRobin}
		for range pick(4) * pick(20) {
			t.Slots = append(t.Slots, uint32(pick(len(p.backends))))
		}
		pools, st.Tables = append(pools, p), append(st.Tables, t)
	}
	for _, port := range random.Perm(6)[:pick(5)] {
		s := lb.ServiceState{Service: lb.Service{VIP: lb.VIP{Addr: web.Addr(), Port: uint16(80 + port), Proto: lb.TCP}}}
		s.Service.Forward = []lb.Forward{lb.NAT, lb.NAT, lb.DSR, lb.IPIP, lb.L7}[pick(5)]
		if s.Service.Forward != lb.L7 {
			p := pools[pick(len(pools))]
			s.Table, s.Backends = p.table, p.backends
		}
		st.Services = append(st.Services, s)
	}
	return st
}

// TestApplyHoldsAnyState applies states in a row, some refused for lack of
// room, with sweeps, flows and restarts of the loader in between.
func TestApplyHoldsAnyState(t *testing.T) {
	for i, tc := range []struct {
		name   string
		limits lb.Limits
		refuse string
	}{
		{"Services", lb.Limits{Services: 3, Backends: 200, Flows: 1024, TableEntries: 4096}, "limits.services"},
		{"Backends", lb.Limits{Services: 20, Backends: 16, Flows: 1024, TableEntries: 4096}, "limits.backends"},
		{"Entries", lb.Limits{Services: 20, Backends: 200, Flows: 1024, TableEntries: 112}, "limits.table_entries"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := testConfig(t)
			c.Limits = tc.limits
			applyAny(t, c, rand.New(rand.NewPCG(3, uint64(i))), tc.refuse)
		})
	}
}

// checkEmpties sees that everything is given back when nothing is wanted.
func checkEmpties(t *testing.T, d *DataPlane) {
	t.Helper()
	clear(d.mem.flows)
	if err := d.Apply(lb.State{}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what the first retires the second finds unused
		if _, err := d.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
	checkHolds(t, d, lb.State{})
	r := d.registry
	if len(r.backends)+len(r.retired)+len(r.services)+len(r.indexes) != 0 {
		t.Errorf("%d backends, %d retired, %d services at %d indexes are left", len(r.backends), len(r.retired), len(r.services), len(r.indexes))
	}
	if r.freeID.left != uint32(len(d.mem.backends))-1 || r.freeSvc.left != uint32(len(d.mem.services))-1 {
		t.Errorf("%d of %d ids and %d of %d indexes are free", r.freeID.left, len(d.mem.backends)-1, r.freeSvc.left, len(d.mem.services)-1)
	}
	if want := []extent{{1, uint32(len(d.mem.arena)) - 1}}; !slices.Equal(r.arena.gaps, want) {
		t.Errorf("the arena has gaps %v, want %v", r.arena.gaps, want)
	}
}

func applyAny(t *testing.T, c lb.Config, random *rand.Rand, refuse string) {
	d := openTest(t, Options{Config: c})
	var held lb.State
	const states = 60
	refused := 0
	for i := range states {
		next := randomState(random, held)
		if err := d.Apply(next); err == nil {
			held = next
		} else if refused++; !strings.Contains(err.Error(), refuse) {
			t.Fatalf("state %d refused, but for another reason: %v", i, err)
		}
		checkHolds(t, d, held)
		if random.IntN(2) == 0 {
			from, to := uint16(1+random.IntN(60000)), uint16(80+random.IntN(6))
			run(t, d, syn(netip.AddrPortFrom(client.Addr(), from), netip.AddrPortFrom(web.Addr(), to)))
		}
		if random.IntN(8) == 0 {
			clear(d.mem.flows)
		}
		if random.IntN(3) == 0 {
			if _, err := d.Sweep(); err != nil {
				t.Fatal(err)
			}
			checkHolds(t, d, held)
		}
		if random.IntN(20) == 0 {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = openTest(t, Options{Config: c})
			checkHolds(t, d, held)
		}
		if t.Failed() {
			t.Fatalf("after state %d: %+v", i, held)
		}
	}
	checkEmpties(t, d)
	if refused == 0 || refused > states*2/3 {
		t.Errorf("%d of %d states were refused; the test is to see both", refused, states)
	}
}
