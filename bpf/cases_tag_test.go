package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"weir/loader/lb"
)

// tagging is a list of VLAN tags: kind and control, outermost first.
type tagging [][2]uint16

var (
	untagged tagging
	one7     = tagging{{0x8100, 7}}                 // of vlanIndex
	two      = tagging{{0x88a8, 4094}, {0x8100, 1}} // of vlanIndex+1
	one300   = tagging{{0x88a8, 300}}               // of out0
)

func (t tagging) on(b []byte) []byte {
	var tags []byte
	for _, x := range t {
		tags = binary.BigEndian.AppendUint16(tags, x[0])
		tags = binary.BigEndian.AppendUint16(tags, x[1])
	}
	return slices.Concat(b[:12], tags, b[12:])
}

func (t tagging) off(b []byte) []byte {
	if len(b) < 12+4*len(t) {
		return b
	}
	return slices.Concat(b[:12], b[12+4*len(t):])
}

// tags makes a step's frame come with tags and leave with others. Bytes are
// counted without.
func (s step) tags(in, out tagging) step {
	s.in = in.on(s.in)
	if from := s.from; from != nil {
		s.from = func(got []byte) []byte { return out.on(from(out.off(got))) }
		return s
	}
	s.out = out.on(s.out)
	return s
}

// same keeps the tags.
func (s step) same(t tagging) step { return s.tags(t, t) }

// tagCases: VLAN tags of frames to backends that are behind each kind of
// interface.
func tagCases(f family, mode func(lb.VIP, netip.Addr) target) []packetCase {
	bare, by7, by2, by300 := mode(f.web, f.a), mode(f.web, numbered(f, 100)), mode(f.web, numbered(f, 101)), mode(f.web, f.away)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	prioritised := func(t tagging) tagging {
		out := slices.Clone(t)
		out[0][1] |= 0xb000 // priority 5, drop eligible
		return out
	}
	came := tagging{{0x8100, 0xb123}}
	twice := tagging{{0x88a8, 0xb001}, {0x8100, 0x2002}}
	var out []packetCase
	for _, way := range []struct {
		name string
		to   target
		v    verdict
		tags tagging
	}{{"no tag", bare, tx, untagged}, {"one tag", by7, tx, one7}, {"two tags", by2, redirect, two}, {"a tag of 802.1ad", by300, tx, one300}} {
		to := way.tags
		if to != nil {
			to = prioritised(way.tags)
		}
		out = append(out,
			packetCase{"from no tag to " + way.name, one(way.to), list(s.forwarded(way.v, way.to).opens(way.to).tags(untagged, way.tags).is("embryonic"))},
			packetCase{"from one tag to " + way.name, one(way.to), list(s.forwarded(way.v, way.to).opens(way.to).tags(came, to).is("embryonic"))},
			packetCase{"from two tags to " + way.name, one(way.to), list(s.forwarded(way.v, way.to).opens(way.to).tags(twice, to))},
			packetCase{"one flow with tags and without to " + way.name, one(way.to), list(
				s.forwarded(way.v, way.to).opens(way.to).tags(came, to),
				s.forwarded(way.v, way.to).hits(way.to).tags(untagged, way.tags),
				s.forwarded(way.v, way.to).hits(way.to).tags(twice, to))},
			packetCase{"from the tag of VLAN 0 to " + way.name, one(way.to), list(
				s.forwarded(way.v, way.to).opens(way.to).tags(tagging{{0x8100, 0}}, way.tags))})
	}
	return out
}

// tagOtherCases: frames with tags that do not go to a backend.
func tagOtherCases(f family) []packetCase {
	web, n := dsr(f.web, f.a), nat(f.web, f.a)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	ours, twice := tagging{{0x8100, 0xe005}}, tagging{{0x88a8, 9}, {0x8100, 5}}
	echo := packet(f.icmp(), f.client, at(f.web))
	r, far := n.reply(s), packet(tcp, f.far, at(f.web)).carrying(syn)
	lost := packet(tcp, f.lost, at(f.web)).carrying(syn)
	return []packetCase{
		{"a stranger's with one tag", one(web), list(s.dest(f.stranger).passed("not_vip").same(ours))},
		{"a stranger's with two tags", one(web), list(s.dest(f.stranger).passed("not_vip").same(twice))},
		{"three tags", one(web), list(s.tagged(0x8100).passed("vlan").same(twice).is(none))},
		{"a third tag of before the standard", one(web), list(s.tagged(0x9100).passed("not_ip").same(twice).is(none))},
		{"a tag of before the standard", one(web), list(s.tagged(0x9100).passed("not_ip"))},
		{"echo with one tag", one(web), list(echo.echoed().same(ours))},
		{"echo with two tags", one(web), list(echo.echoed().same(twice))},
		{"malformed", one(web), list(s.lying(atL4, 12, 0).dropped("malformed").tags(ours, untagged))},
		{"l7", []service{{vip: f.web, forward: lb.L7}}, list(s.passed("local").same(twice))},
		{"reply with a tag", one(n), list(s.sent(n).opens(n), r.answered(n).replies(n).tags(ours, untagged))},
		{"reply by the interface that tags", one(n), list(
			far.sent(n).opens(n),
			n.reply(far).step(tx, n.backFar(n.reply(far)), "").replies(n).tags(twice, one300))},
		{"reply whose client's neighbour is missing", one(n), list(
			lost.sent(n).opens(n), n.reply(lost).handed(n, "no_neighbour").replies(n).same(twice))},
		{"ARP", one(web), list(raw(0x0806, make([]byte, 46)...).same(ours))},
		{"a tag and nothing else", one(web), list(raw(0x1234).same(ours))},
	}
}

// TestTags runs cases on a host with interfaces that tag.
func TestTags(t *testing.T) {
	l := newLab(t)
	l.tags = true
	for _, f := range []family{ip4, ip6} {
		for name, mode := range map[string]func(lb.VIP, netip.Addr) target{"DSR": dsr, "NAT": nat, "SNAT": snat} {
			for _, c := range tagCases(f, mode) {
				t.Run(f.name+" to "+name+"/"+c.name, func(t *testing.T) { l.runCase(t, c) })
			}
		}
		for _, c := range tagOtherCases(f) {
			t.Run(f.name+"/"+c.name, func(t *testing.T) { l.runCase(t, c) })
		}
	}
	for _, p := range pairings {
		for name, mode := range map[string]func(lb.VIP, netip.Addr) target{"IPIP": p.ipip, "GUE": p.gue} {
			for _, c := range slices.Concat(tagCases(p.inner, mode)) {
				t.Run(p.inner.name+" in "+p.outer.name+" by "+name+"/"+c.name, func(t *testing.T) { l.runCase(t, c) })
			}
		}
	}
}
