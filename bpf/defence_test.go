package bpf_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"

	"weir/loader/dataplane"
	"weir/loader/lb"
)

// stopped makes the clock of limits stand still at 0.
const stopped = 58

// newDefendedLab has a stopped clock of limits.
func newDefendedLab(t *testing.T) *lab {
	t.Helper()
	c := defaults()
	c.Limits.Sources = 4096
	return newLabOf(t, dataplane.Options{Config: c, LimitShift: stopped})
}

// under applies services whose state is changed first.
func under(change func(*lb.State), services ...service) func(*testing.T, *lab) {
	return func(t *testing.T, l *lab) {
		t.Helper()
		s := l.state(services)
		change(&s)
		if err := l.Apply(s); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
}

// only is a prefix of one address.
func only(a netip.Addr) string { return fmt.Sprintf("%s/%d", a, a.BitLen()) }

func TestACL(t *testing.T) {
	l := newDefendedLab(t)
	for _, f := range []family{ip4, ip6} {
		for _, c := range aclCases(t, f) {
			t.Run(f.name+" "+c.name, func(t *testing.T) { l.runCase(t, c) })
		}
	}
}

func aclCases(t *testing.T, f family) []packetCase {
	d, n := dsr(f.web, f.a), nat(f.web, f.a)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	far := packet(tcp, f.far, at(f.web)).carrying(syn)
	data := s.carrying(ack)
	echo := packet(f.icmp(), f.client, at(f.web))
	unreachable := errorKinds(f)[1]
	me := only(f.client.Addr())
	all := func(allow, deny string, rest bool) func(*lb.State) {
		return func(s *lb.State) { s.ACL = mustACL(t, allow, deny, rest) }
	}
	own := func(allow, deny string, rest bool) func(*lb.State) {
		return func(s *lb.State) { s.Services[0].Service.ACL = mustACL(t, allow, deny, rest) }
	}
	denyAll, denyOwn := all("", me, false), own("", me, false)
	local := service{vip: f.web, forward: lb.L7}
	return []packetCase{
		{"denied to all", nil, list(
			s.dropped("acl").is(none).after(under(denyAll, one(d)...)), far.sent(d).opens(d))},
		{"denied to a service", nil, list(
			s.dropped("acl").is(none).after(under(denyOwn, one(d)...)), far.sent(d).opens(d))},
		{"an established flow", one(d), list(
			s.sent(d).opens(d), data.sent(d).hits(d),
			data.dropped("acl").is("established").after(under(denyAll, one(d)...)),
			data.dropped("acl").is("established").after(under(denyOwn, one(d)...)),
			data.sent(d).hits(d).after(under(func(*lb.State) {}, one(d)...)))},
		{"a flow whose service has gone", one(d), list(
			s.sent(d).opens(d), data.sent(d).hits(d),
			data.dropped("acl").is("established").after(under(denyAll)),
			far.passed("not_vip"))},
		{"only some are allowed", nil, list(
			s.sent(d).opens(d).after(under(own(me, "", true), one(d)...)), far.dropped("acl"))},
		{"both lists must allow", nil, list(
			s.dropped("acl").after(under(func(st *lb.State) { own(me, "", true)(st); denyAll(st) }, one(d)...)))},
		{"what is for no service", nil, list(
			s.dest(f.stranger).passed("not_vip").after(under(denyAll, one(d)...)),
			s.dest(port(f.web.Addr, 81)).passed("not_vip"))},
		{"what is for this host", nil, list(
			s.dropped("acl").after(under(denyAll, local)), far.passed("local"))},
		{"replies of a backend that is denied", nil, list(
			s.sent(n).opens(n).after(under(all("", only(f.a), false), one(n)...)),
			n.reply(s).carrying(syn|ack).answered(n).replies(n))},
		{"echo", nil, list(
			echo.dropped("acl").after(under(denyAll, one(d)...)),
			echo.echoed().after(under(denyOwn, one(d)...)))},
		{"an error goes by its flow's client", nil, list(
			s.sent(d).opens(d).after(under(all("", only(router(f).Addr()), false), one(d)...)),
			quoting(f, s, unreachable).steered(tx, d, answerTo(s)),
			quoting(f, s, unreachable).dropped("acl").after(under(denyAll, one(d)...)),
			quoting(f, s, unreachable).dropped("acl").after(under(denyOwn, one(d)...)))},
	}
}

// A prefix of each length and of each family is found, and IPv6's shortest is
// not about IPv4.
func TestACLPrefixes(t *testing.T) {
	l := newDefendedLab(t)
	for _, f := range []family{ip4, ip6} {
		d, a := dsr(f.web, f.a), f.client.Addr()
		s := packet(tcp, f.client, at(f.web)).carrying(syn)
		for bits := range a.BitLen() + 1 {
			inside, err := a.Prefix(bits)
			if err != nil {
				t.Fatal(err)
			}
			l.forget(t)
			under(func(st *lb.State) { st.ACL = mustACL(t, "", inside.String(), false) }, one(d)...)(t, l)
			l.mustStep(t, s.dropped("acl"))
			if bits == 0 {
				continue
			}
			beside, _ := flipped(a, bits-1).Prefix(bits) // the last bit is another
			under(func(st *lb.State) { st.ACL = mustACL(t, beside.String(), "", true) }, one(d)...)(t, l)
			l.mustStep(t, s.dropped("acl"))
		}
	}
	l.forget(t)
	d := dsr(ip4.web, ip4.a)
	s := packet(tcp, ip4.client, at(ip4.web)).carrying(syn)
	for _, other := range []string{"::/0", "::/8", "::/80"} {
		under(func(st *lb.State) { st.ACL = mustACL(t, "", other, false) }, one(d)...)(t, l)
		l.forget(t)
		l.mustStep(t, s.sent(d).opens(d))
	}
}

func flipped(a netip.Addr, bit int) netip.Addr {
	b := a.AsSlice()
	b[bit/8] ^= 0x80 >> (bit % 8)
	out, _ := netip.AddrFromSlice(b)
	return out
}

// limit gives the first service limits.
func limit(perSource lb.FlowLimit, all uint32) func(*lb.State) {
	return func(s *lb.State) {
		s.Services[0].Service.NewFlowsPerSource, s.Services[0].Service.MaxNewFlows = perSource, all
	}
}

func TestLimits(t *testing.T) {
	l := newDefendedLab(t)
	for _, f := range []family{ip4, ip6} {
		for _, c := range limitCases(f) {
			t.Run(f.name+" "+c.name, func(t *testing.T) {
				clear(l.words(t, "sources"))
				clear(l.words(t, "ceilings"))
				l.runCase(t, c)
			})
		}
	}
}

const second = 976562 // of the limits' clock

func limitCases(f family) []packetCase {
	d, u := dsr(f.web, f.a), dsr(f.dns, f.a)
	from := func(n uint16) frame {
		return packet(tcp, port(f.client.Addr(), n), at(f.web)).carrying(syn)
	}
	asked := func(n uint16) frame { return packet(udp, port(f.client.Addr(), n), at(f.dns)) }
	other := packet(tcp, f.far, at(f.web)).carrying(syn)
	two, all := lb.FlowLimit{Rate: 10, Burst: 2}, lb.FlowLimit{}
	local := service{vip: f.web, forward: lb.L7}
	return []packetCase{
		{"a source's burst, and one more", nil, list(
			from(1).sent(d).opens(d).after(under(limit(two, 0), one(d)...)),
			from(2).sent(d).opens(d),
			from(3).dropped("new_flows_per_source").is(none),
			other.sent(d).opens(d),
			from(2).sent(d).hits(d), // its own SYN again
			from(1).carrying(ack).sent(d).hits(d))},
		{"a source later", nil, list(
			from(1).sent(d).opens(d).after(under(limit(two, 0), one(d)...)),
			from(2).sent(d).opens(d),
			from(3).dropped("new_flows_per_source").after(later(second/10-1)),
			from(3).sent(d).opens(d).after(later(1)),
			from(4).dropped("new_flows_per_source"),
			from(4).sent(d).opens(d).after(later(1000*second)),
			from(5).sent(d).opens(d),
			from(6).dropped("new_flows_per_source"))},
		{"what is not the start of a flow", nil, list(
			from(1).sent(d).opens(d).after(under(limit(lb.FlowLimit{Rate: 1, Burst: 1}, 1), one(d)...)),
			from(2).dropped("new_flows_per_source"),
			from(3).carrying(ack).sent(d).opens(d),
			from(4).carrying(syn|ack).sent(d).opens(d))},
		{"UDP", nil, list(
			asked(1).sent(u).opens(u).after(under(limit(lb.FlowLimit{Rate: 1, Burst: 1}, 0), one(u)...)),
			asked(1).sent(u).hits(u),
			asked(2).dropped("new_flows_per_source"))},
		{"a service's tenth of a second, and one more", nil, list(
			from(1).sent(d).opens(d).after(under(limit(all, 20), one(d)...)),
			from(2).sent(d).opens(d), other.sent(d).opens(d),
			from(4).dropped("max_new_flows").is(none),
			from(4).dropped("max_new_flows").after(later(second/20-1)),
			from(4).sent(d).opens(d).after(later(2)), // a twentieth is no whole number
			from(5).dropped("max_new_flows"))},
		{"a source over its limit takes nothing of the service's", nil, list(
			from(1).sent(d).opens(d).after(under(limit(lb.FlowLimit{Rate: 1, Burst: 1}, 10), one(d)...)),
			from(2).dropped("new_flows_per_source"), from(3).dropped("new_flows_per_source"),
			other.sent(d).opens(d),
			other.source(port(f.narrow.Addr(), 1)).dropped("max_new_flows"))},
		{"for this host", nil, list(
			from(1).passed("local").after(under(limit(lb.FlowLimit{Rate: 1, Burst: 1}, 0), local)),
			from(2).dropped("new_flows_per_source"), from(1).carrying(ack).passed("local"))},
		{"a limit that is gone", nil, list(
			from(1).sent(d).opens(d).after(under(limit(lb.FlowLimit{Rate: 1, Burst: 1}, 1), one(d)...)),
			from(2).dropped("new_flows_per_source"),
			from(2).sent(d).opens(d).after(under(limit(all, 0), one(d)...)))},
		{"a limit that is lower now", nil, list(
			from(1).sent(d).opens(d).after(under(limit(lb.FlowLimit{Rate: 1, Burst: 600}, 0), one(d)...)),
			from(2).sent(d).opens(d), from(3).sent(d).opens(d), from(4).sent(d).opens(d),
			from(5).sent(d).opens(d).after(under(limit(lb.FlowLimit{Rate: 1, Burst: 2}, 0), one(d)...)),
			from(6).sent(d).opens(d), from(7).dropped("new_flows_per_source"))},
	}
}

// later lets time pass for limits.
func later(units uint32) func(*testing.T, *lab) {
	return func(t *testing.T, l *lab) {
		t.Helper()
		for name, each := range map[string]func(uint64) uint64{
			"sources":  func(w uint64) uint64 { return w&^0xffffffff | uint64(uint32(w)-units) },
			"ceilings": func(w uint64) uint64 { return w - uint64(units)<<14 },
		} {
			words := l.words(t, name)
			for i, w := range words {
				if w != 0 {
					words[i] = each(w)
				}
			}
		}
	}
}

// words is a pinned array as its memory.
func (l *lab) words(t *testing.T, name string) []uint64 {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(filepath.Join(l.config.PinDir, "maps", name), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	words, unmap, err := mappedWords(m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmap(); err != nil {
			t.Error(err)
		}
	})
	return words[:m.ValueSize()*m.MaxEntries()/8]
}

// All addresses of an IPv6 /64 are one source, those of IPv4 are not.
func TestSources(t *testing.T) {
	for _, c := range []struct {
		f     family
		other string
		same  bool
	}{
		{ip4, "198.51.100.8", false},
		{ip6, "2001:db8:100::ffff:1", true},
		{ip6, "2001:db8:100:1::7", false},
	} {
		l, d := newDefendedLab(t), dsr(c.f.web, c.f.a)
		s := packet(tcp, c.f.client, at(c.f.web)).carrying(syn)
		under(limit(lb.FlowLimit{Rate: 1, Burst: 1}, 0), one(d)...)(t, l)
		l.mustStep(t, s.sent(d).opens(d))
		next := s.source(port(netip.MustParseAddr(c.other), 7))
		if c.same {
			l.mustStep(t, next.dropped("new_flows_per_source"))
		} else {
			l.mustStep(t, next.sent(d).opens(d))
		}
	}
}

// However many sources open a flow, those that owe more are not forgotten for
// them, also where a set is full of such.
func TestManySourcesShedNoDebt(t *testing.T) {
	c := defaults()
	c.Limits.Sources = 64
	l := newLabOf(t, dataplane.Options{Config: c, LimitShift: stopped})
	d := dsr(ip4.web, ip4.a)
	under(limit(lb.FlowLimit{Rate: 100, Burst: 3}, 0), one(d)...)(t, l)
	opens := func(net byte, n int, sport uint16) bool {
		t.Helper()
		a := netip.AddrFrom4([4]byte{203, net, byte(n >> 8), byte(n)})
		v, _, err := l.run("in0", packet(tcp, port(a, sport), at(ip4.web)).carrying(syn).bytes())
		if err != nil {
			t.Fatal(err)
		}
		return v == tx
	}
	err := l.ns.Do(func() error {
		var owing []int
		for n := range 512 { // four for each slot
			for sport := range uint16(4) {
				if !opens(0, n, sport) {
					owing = append(owing, n)
				}
			}
		}
		if len(owing) != 128 {
			t.Errorf("%d sources are limited, want as many as there are slots", len(owing))
		}
		for n := range 4000 {
			if !opens(1, n, 1) {
				t.Errorf("a source that opens its first flow is refused")
			}
		}
		for _, n := range owing {
			if opens(0, n, 9) {
				t.Errorf("source %d may open flows again", n)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
