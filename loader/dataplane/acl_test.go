package dataplane

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"weir/bpf"
	"weir/loader/lb"
)

func mustACL(t testing.TB, allow, deny []netip.Prefix, rest bool) *lb.ACL {
	t.Helper()
	a, err := lb.NewACL(allow, deny, rest)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// randomPrefixes are unlike each other.
func randomPrefixes(r *rand.Rand, n int) []netip.Prefix {
	seen, out := map[netip.Prefix]bool{}, []netip.Prefix{}
	for len(out) < n {
		a := netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
		bits := 8 + r.IntN(25)
		if r.IntN(2) == 0 {
			var b [16]byte
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			b[0] = 0x20
			a, bits = netip.AddrFrom16(b), 16+r.IntN(113)
		}
		if p := netip.PrefixFrom(a, bits).Masked(); !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

// denies asks the map itself.
func denies(t testing.TB, d *DataPlane, list uint32, a netip.Addr) bool {
	t.Helper()
	key := bpf.WeirAclKey{Bits: aclListBits + 128, List: list}
	key.Addr.Word = words(a)
	var denied uint32
	if err := d.maps.Acl.Lookup(key, &denied); err != nil {
		t.Fatalf("list %d has nothing for %s: %v", list, a, err)
	}
	return denied != 0
}

// entries of the map acl by list.
func aclSizes(t testing.TB, d *DataPlane) map[uint32]int {
	t.Helper()
	sizes := map[uint32]int{}
	var key bpf.WeirAclKey
	var denied uint32
	it := d.maps.Acl.Iterate()
	for it.Next(&key, &denied) {
		sizes[key.List]++
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return sizes
}

// What the kernel finds is what the list says, for any prefixes; a restart
// leaves the lists alone, a change replaces those that changed.
func TestACLInTheKernel(t *testing.T) {
	c := testConfig(t)
	d := openTest(t, Options{Config: c})
	r := rand.New(rand.NewPCG(5, 6))
	prefixes := randomPrefixes(r, 4000)
	s := stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:80")
	s.ACL = mustACL(t, prefixes[:2000], prefixes[2000:], false)
	s.Services[0].Service.ACL = mustACL(t, nil, prefixes[:10], true)
	apply := func(d *DataPlane) {
		t.Helper()
		if err := d.Apply(s); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
	apply(d)
	all := d.acls.all.id
	for range 2000 {
		p := prefixes[r.IntN(len(prefixes))]
		for _, a := range []netip.Addr{p.Addr(), p.Addr().Next(), randomPrefixes(r, 1)[0].Addr()} {
			if got, want := denies(t, d, all, a), s.ACL.Match(a).Deny; got != want {
				t.Fatalf("%s: denied %v, want %v by %+v", a, got, want, s.ACL.Match(a))
			}
		}
	}
	own := d.acls.services[1].id
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = openTest(t, Options{Config: c})
	if !d.features.acl || !d.acls.all.acl.Equal(s.ACL) || !d.acls.services[1].acl.Equal(s.Services[0].Service.ACL) {
		t.Fatal("a restart finds other lists")
	}
	apply(d)
	if d.acls.all.id != all || d.acls.services[1].id != own {
		t.Error("a restart made lists anew")
	}
	s.ACL = mustACL(t, prefixes[:2000], prefixes[2001:], false)
	apply(d)
	if d.acls.all.id == all || d.acls.services[1].id != own {
		t.Error("not just the list that changed was made anew")
	}
	if sizes := aclSizes(t, d); len(sizes) != 2 || sizes[d.acls.all.id] != 4001 || sizes[own] != 12 {
		t.Errorf("the map has %v", sizes)
	}
	s.ACL, s.Services[0].Service.ACL = nil, nil
	apply(d)
	if sizes := aclSizes(t, d); len(sizes) != 0 {
		t.Errorf("without lists the map has %v", sizes)
	}
}

// A list goes with its service, once the flows have ended.
func TestACLOfAServiceThatGoes(t *testing.T) {
	d := openTest(t, Options{Config: testConfig(t)})
	s := stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:80")
	s.Services[0].Service.ACL = mustACL(t, nil, []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, false)
	if err := d.Apply(s); err != nil {
		t.Fatal(err)
	}
	run(t, d, syn(client, web))
	if err := d.Apply(lb.State{}); err != nil {
		t.Fatal(err)
	}
	sweep := func(lists int) {
		t.Helper()
		for range 2 {
			if _, err := d.Sweep(); err != nil {
				t.Fatal(err)
			}
		}
		if sizes := aclSizes(t, d); len(sizes) != lists {
			t.Errorf("the map has %v, want %d lists", sizes, lists)
		}
	}
	sweep(1)
	for i := range d.mem.flows {
		d.mem.flows[i].Word = [8]uint64{}
	}
	sweep(0)
}

// A refused state leaves the lists as they were.
func TestRefusedApplyKeepsACL(t *testing.T) {
	c := testConfig(t)
	c.Limits.Backends = 1
	d := openTest(t, Options{Config: c})
	good := stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:80")
	good.ACL = mustACL(t, nil, []netip.Prefix{netip.PrefixFrom(client.Addr(), 32)}, false)
	if err := d.Apply(good); err != nil {
		t.Fatal(err)
	}
	bad := stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:80", "10.0.0.2:80")
	bad.Services[0].Service.MaxNewFlows = 1
	bad.ACL = mustACL(t, nil, nil, false)
	if err := d.Apply(bad); err == nil {
		t.Fatal("no error for more backends than limits.backends")
	}
	if _, err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
	if v, _ := run(t, d, syn(client, web)); v != 1 || d.mem.services[1].FlowRate != 0 || len(aclSizes(t, d)) != 1 {
		t.Errorf("verdict %d, %+v, lists %v", v, d.mem.services[1], aclSizes(t, d))
	}
}

// While rules move between lists, which then allow and deny other sources, no
// packet gets a verdict that neither the old nor the new state gives.
func TestACLChangesAtOnce(t *testing.T) {
	d := openTest(t, Options{Config: testConfig(t)})
	me := []netip.Prefix{netip.PrefixFrom(client.Addr(), 32)}
	around := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	a := stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:80")
	b := stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:80")
	// Each denies the client, in another list and by another prefix.
	a.ACL, a.Services[0].Service.ACL = mustACL(t, nil, me, false), mustACL(t, around, nil, true)
	b.ACL, b.Services[0].Service.ACL = mustACL(t, me, around, false), mustACL(t, nil, around, false)
	if err := d.Apply(a); err != nil {
		t.Fatal(err)
	}
	dropped := func() uint64 {
		t.Helper()
		all, err := d.reasons()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(r lb.ReasonCount) bool { return r.Reason == "acl" })
		return all[i].Packets
	}
	before, sent, changes := dropped(), uint64(0), 0
	ctx, stop := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		defer stop()
		const burst = 1_000_000
		for range 10 {
			if _, _, err := d.Program().Benchmark(syn(client, web), burst, nil); err != nil {
				t.Error(err)
				return
			}
			sent += burst
		}
	})
	for ; ctx.Err() == nil; changes++ {
		if err := d.Apply([]lb.State{b, a}[changes%2]); err != nil {
			t.Fatal(err)
		}
		if changes%8 == 0 {
			if err := d.reclaimNow(); err != nil {
				t.Fatal(err)
			}
		}
	}
	sending.Wait()
	if n := dropped() - before; n != sent {
		t.Errorf("of %d packets during %d changes %d were not dropped", sent, changes, sent-n)
	}
	t.Logf("%d packets during %d changes", sent, changes)
}

// reclaimNow removes the lists that were replaced.
func (d *DataPlane) reclaimNow() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reclaim()
}

// 100,000 prefixes: how long they take to come into force.
func TestManyPrefixes(t *testing.T) {
	d := openTest(t, Options{Config: testConfig(t)})
	r := rand.New(rand.NewPCG(7, 8))
	prefixes := randomPrefixes(r, 100_000)
	s := stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:80")
	before := time.Now()
	if err := d.Apply(s); err != nil {
		t.Fatal(err)
	}
	plain := time.Since(before)
	lists := []*lb.ACL{mustACL(t, nil, prefixes, false), mustACL(t, prefixes[:1], prefixes[1:], false)}
	for i, what := range []string{"first", "one prefix changed"} {
		s.ACL = lists[i]
		before := time.Now()
		if err := d.Apply(s); err != nil {
			t.Fatal(err)
		}
		applied := time.Since(before)
		if _, err := d.Sweep(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d prefixes, %s: applied in %v (without %v), old ones removed in %v", len(s.ACL.Rules), what, applied, plain, time.Since(before)-applied)
	}
	if !denies(t, d, d.acls.all.id, prefixes[5].Addr()) {
		t.Error("a denied prefix is not")
	}
}

// BenchmarkACL is one packet of a known flow, and what lists cost it.
func BenchmarkACL(b *testing.B) {
	for _, n := range []int{-1, 0, 100_000} {
		b.Run(fmt.Sprint("prefixes=", n), func(b *testing.B) {
			c := lb.Config{PinDir: "/sys/fs/bpf/weir-bench-acl", Limits: lb.Limits{Services: 16, Backends: 64, Flows: 4096, TableEntries: 1 << 18}}
			c.Timeouts = lb.Timeouts{Embryonic: time.Minute, Established: time.Minute, Closing: time.Minute, UDP: time.Minute}
			d, err := Open(Options{Config: c})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _, _ = Unload(c.PinDir, true); _ = d.Close() }()
			vip, _ := lb.ParseVIP("192.0.2.1:80/tcp")
			s := lb.State{Tables: []lb.Table{{Algorithm: lb.RoundRobin, Slots: []uint32{0}}}, Services: []lb.ServiceState{{
				Service:  lb.Service{VIP: vip, Forward: lb.DSR},
				Backends: []lb.BackendState{{Endpoint: netip.MustParseAddrPort("10.0.0.1:80"), Hop: testHop}},
			}}}
			if n >= 0 {
				if s.ACL, err = lb.NewACL(nil, randomPrefixes(rand.New(rand.NewPCG(1, 1)), n), false); err != nil {
					b.Fatal(err)
				}
			}
			if err := d.Apply(s); err != nil {
				b.Fatal(err)
			}
			_, took, err := d.Program().Benchmark(syn(netip.MustParseAddrPort("198.51.100.7:4000"), web), 1_000_000, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(took.Nanoseconds()), "ns/packet")
		})
	}
}
