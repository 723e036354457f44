package bpf_test

import (
	"net/netip"
	"testing"

	"weir/loader/lb"
)

// stating is a SYN with this maximum segment size, after other options.
func (f frame) stating(mss uint16, before ...byte) frame {
	b := append(append([]byte{}, before...), 2, 4, byte(mss>>8), byte(mss))
	for len(b)%4 != 0 {
		b = append(b, 1)
	}
	return f.carrying(f.flags | syn).options4(b...)
}

// as is a step whose frame came as another.
func (s step) as(in frame) step { s.in = in.bytes(); return s }

// mssCases: most is what the service, or the way, allows.
func mssCases(f family, mode func(lb.VIP, netip.Addr) target, most uint16) []packetCase {
	web := mode(f.web, f.a)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	timestamps := []byte{8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	lowered := func(before ...byte) step {
		return s.stating(most, before...).sent(web).opens(web).as(s.stating(most+1, before...))
	}
	keeps := func(in frame) step { return in.sent(web).opens(web) }
	return []packetCase{
		{"one byte too large", one(web), list(lowered())},
		{"the largest that there is", one(web), list(s.stating(most).sent(web).opens(web).as(s.stating(0xffff)))},
		{"at an odd place", one(web), list(lowered(1))},
		{"after two bytes", one(web), list(lowered(1, 1))},
		{"after timestamps", one(web), list(lowered(timestamps...))},
		{"after an odd option", one(web), list(lowered(append(timestamps, 3, 3, 7)...))},
		{"behind many", one(web), list(lowered(append(append(append([]byte{}, timestamps...), timestamps...), timestamps...)...))},
		{"just right", one(web), list(keeps(s.stating(most)))},
		{"smaller", one(web), list(keeps(s.stating(100)))},
		{"0", one(web), list(keeps(s.stating(0)))},
		{"none", one(web), list(keeps(s))},
		{"after the end of options", one(web), list(keeps(s.stating(9000, 0)))},
		{"of a wrong length", one(web), list(keeps(s.options4(2, 3, 0xff, 1)))},
		{"after an option of length 0", one(web), list(keeps(s.stating(9000, 5, 0)))},
		{"after an option that ends behind the header", one(web), list(keeps(s.stating(9000, 254, 40)))},
		{"in no SYN", one(web), list(keeps(s.carrying(ack).options4(2, 4, 0xff, 0xff)))},
		{"wrong checksums stay as wrong", one(web), list(
			s.stating(most).wrong(0x1234).sent(web).opens(web).as(s.stating(most + 5).wrong(0x1234)))},
	}
}

// mssReplyCases: what backends state in their answers.
func mssReplyCases(f family, most uint16) []packetCase {
	n := nat(f.web, f.a)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	r := n.reply(s).carrying(syn | ack)
	return []packetCase{{"of a reply", one(n), list(
		s.sent(n).opens(n), r.stating(most).answered(n).replies(n).as(r.stating(9000)))}}
}

func TestMSS(t *testing.T) {
	l := newLab(t)
	run := func(name string, cases []packetCase) {
		for _, c := range cases {
			t.Run(name+"/"+c.name, func(t *testing.T) { l.runCase(t, c) })
		}
	}
	for _, f := range []family{ip4, ip6} {
		headers := uint16(headers(f) + 20)
		for name, mode := range map[string]func(lb.VIP, netip.Addr) target{"DSR": dsr, "NAT": nat, "SNAT": snat} {
			l.mss = 1300
			run(f.name+" to "+name, mssCases(f, mode, 1300))
			l.mss = lb.MSSAuto
			run(f.name+" to "+name+" by the way", mssCases(f, mode, 1500-headers))
		}
		run(f.name, mssReplyCases(f, 1500-headers))
		l.mss = 0
		run(f.name+" as it is", mssCases(f, dsr, 0xffff)[1:2])
	}
	l.mss = lb.MSSAuto
	for _, p := range pairings {
		outer, inner := uint16(headers(p.outer)), uint16(headers(p.inner)+20)
		run(p.inner.name+" in "+p.outer.name+" by IPIP", mssCases(p.inner, p.ipip, 1500-outer-inner))
		run(p.inner.name+" in "+p.outer.name+" by GUE", mssCases(p.inner, p.gue, 1500-outer-8-inner))
	}
}
