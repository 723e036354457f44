package bpf_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/loader/lb"
)

// errorKinds are the type, code and second word of the errors that are steered;
// too big is the first.
func errorKinds(f family) [][3]uint32 {
	if f.client.Addr().Is4() {
		return [][3]uint32{{3, 4, 1400}, {3, 0, 0}, {3, 1, 0}, {3, 3, 0}, {3, 13, 0}, {11, 0, 0}, {11, 1, 0}, {12, 0, 0x08000000}}
	}
	return [][3]uint32{{2, 0, 1400}, {1, 0, 0}, {1, 4, 0}, {3, 0, 0}, {3, 1, 0}, {4, 0, 40}, {4, 1, 6}}
}

// router is who reports errors.
func router(f family) netip.AddrPort { return port(f.far.Addr(), 0) }

// quoting is an error about what was sent in answer to f, from the VIP.
func quoting(f family, in frame, kind [3]uint32) frame {
	return erring(f, kind, answerTo(in))
}

// answerTo is a packet to in's sender as the client's network sees it.
func answerTo(in frame) frame {
	return packet(in.proto, in.to, in.from).with([]byte("0123456789abcdef")).ttl(3)
}

func erring(f family, kind [3]uint32, quoted frame) frame {
	e := packet(f.icmp(), router(f), port(quoted.from.Addr(), 0))
	return e.message(uint8(kind[0]), uint8(kind[1]), kind[2], quoted.bytes()[14:])
}

// steered is an error on its way to a backend. The quoted packet is what the
// backend sent: with its own address, but the VIP's checksum, which nobody
// reads (RFC 5508, 4.2).
func (f frame) steered(v verdict, t target, quoted frame) step {
	s := f.forwarded(v, t)
	if t.forward == lb.NAT {
		own := quoted.source(t.real(quoted.from.Port()))
		inside := own.bytes()[14:]
		sent := quoted.bytes()[14:]
		l4 := len(sent) - len(quoted.transport())
		at := map[uint8]int{tcp: 16, udp: 6}[quoted.proto]
		copy(inside[l4+at:l4+at+2], sent[l4+at:])
		room := len(f.payload) - 8
		out := t.through(f)
		out.payload = slices.Concat(f.payload[:8], inside[:room])
		s.out = out.dest(port(t.at.Addr(), 0)).bytes()
	}
	return s.move(t, counts{packets: 1, bytes: int64(len(s.in))})
}

// errorCases: ICMP errors about what backends sent.
func errorCases(f family, mode func(lb.VIP, netip.Addr) target) []packetCase {
	web, dns := mode(f.web, f.a), mode(f.dns, f.a)
	services := append([]service{twoBackends(web, mode(f.web, f.b))}, one(dns)...)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	q := packet(udp, f.client, at(f.dns))
	second := packet(tcp, f.other, at(f.web)).carrying(syn)
	big, unreachable := errorKinds(f)[0], errorKinds(f)[1]
	begin := list(s.sent(web).opens(web), q.sent(dns).opens(dns))
	on := func(steps ...step) []step { return slices.Concat(begin, steps) }
	about := func(in frame, kind [3]uint32) step { return quoting(f, in, kind).steered(tx, web, answerTo(in)) }
	forged := func(e frame) step { return e.dropped("icmp_unknown") }
	onB := mode(f.web, f.b)
	r := answerTo(s)
	var kinds []step
	for _, kind := range errorKinds(f) {
		kinds = append(kinds, about(s, kind).of(s, "embryonic"), quoting(f, q, kind).steered(tx, dns, answerTo(q)))
	}
	mayPass := web.forward != lb.NAT
	out := []packetCase{
		{"errors about a flow", services, on(kinds...)},
		{"errors about each backend's flow", services, list(
			s.sent(web).opens(web), second.sent(onB).opens(onB), about(s, unreachable),
			quoting(f, second, unreachable).steered(tx, onB, answerTo(second)))},
		{"errors about an ended flow", services, on(
			s.carrying(rst).sent(web).ends(web), about(s, unreachable))},
		{"errors about no flow", services, list(
			forged(quoting(f, s, unreachable)), forged(quoting(f, q, unreachable)),
			forged(quoting(f, s, errorKinds(f)[5])))},
		{"too big about no flow goes by hash", services, list(
			quoting(f, q, big).steered(tx, dns, answerTo(q)))},
		{"too big about a port without service", services, list(forged(quoting(f, s.dest(port(f.web.Addr, 81)), big)))},
		{"errors about l7", []service{{vip: f.web, forward: lb.L7}}, list(
			quoting(f, s, big).passed("local"), quoting(f, s, unreachable).passed("local"))},
		{"too big and no backends", []service{{vip: f.web, forward: web.forward}}, list(forged(quoting(f, s, big)))},
		{"errors to a stranger", services, on(quoting(f, s.dest(f.stranger), big).passed("not_vip"))},
		{"errors about somebody else's packet", services, on(
			forged(erring(f, unreachable, r.source(f.stranger)).dest(at(f.web))),
			forged(erring(f, big, r.source(f.stranger)).dest(at(f.web))))},
		{"errors about what the client sent", services, on(
			forged(erring(f, unreachable, s).dest(at(f.web))), forged(erring(f, big, s).dest(at(f.web))))},
		{"errors about other protocols", services, on(
			forged(erring(f, unreachable, packet(f.icmp(), at(f.web), f.client))),
			forged(erring(f, big, packet(f.icmp(), at(f.web), f.client))),
			forged(erring(f, big, packet(132, at(f.web), f.client))),
			forged(erring(f, unreachable, packet(udp, at(f.web), f.client))))},
		{"errors quote large packets", services, on(
			erring(f, big, r.with(make([]byte, 500))).steered(tx, web, r.with(make([]byte, 500))))},
		{"errors that are padded", services, on(
			quoting(f, s, big).padded(1, 2, 3, 4, 5).steered(tx, web, r))},
		{"errors of TTL 2", services, on(quoting(f, s, big).ttl(2).steered(tx, web, r))},
		{"errors with wrong checksums stay as wrong", services, on(quoting(f, s, big).wrong(0x77).steered(tx, web, r))},
		{"errors from the client itself", services, on(quoting(f, s, unreachable).source(f.client).steered(tx, web, r))},
	}
	if mayPass {
		out = append(out, packetCase{"errors of TTL 1", services, on(quoting(f, s, big).ttl(1).steered(tx, web, r))})
	} else {
		out = append(out, packetCase{"errors of TTL 1", services, on(quoting(f, s, big).ttl(1).dropped("ttl"))})
	}
	if f.client.Addr().Is4() {
		return append(out,
			packetCase{"errors quote options", services, on(
				erring(f, big, r.ip4Options(1, 1, 1, 0)).steered(tx, web, r.ip4Options(1, 1, 1, 0)))},
			packetCase{"errors after options", services, on(
				quoting(f, s, big).ip4Options(1, 1, 1, 0).steered(tx, web, r))},
			packetCase{"errors quote a first fragment", services, on(
				erring(f, unreachable, r.frag(0x2000)).steered(tx, web, r.frag(0x2000)))},
			packetCase{"errors quote a later fragment", services, on(forged(erring(f, unreachable, r.frag(0x2007))), forged(erring(f, big, r.frag(1))))},
			packetCase{"errors quote a header that lies", services, on(
				forged(erring(f, big, r.lying(atL3, 0, 0x44))), forged(erring(f, big, r.lying(atL3, 0, 0x40))))},
			packetCase{"errors quote nothing of the other family", services, on(
				forged(quoting(f, s, big).with(erring(ip6, big, answerTo(packet(tcp, ip6.client, at(ip6.web)))).payload))),
			})
	}
	return append(out,
		packetCase{"errors after extensions", services, on(
			quoting(f, s, big).ext(hopByHop, 0).ext(destinations, 1).steered(tx, web, r))},
		packetCase{"errors quote extensions", services, on(forged(erring(f, big, r.ext(destinations, 0))))})
}

// cutErrorCases: errors that quote less and less. 8 bytes after the quoted IP
// header are what there must be (RFC 792).
func cutErrorCases(f family, mode func(lb.VIP, netip.Addr) target) []packetCase {
	web := mode(f.web, f.a)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	e := quoting(f, s, errorKinds(f)[1])
	enough := 8 + headers(f) + 8
	cut, padded := list(s.sent(web).opens(web)), list(s.sent(web).opens(web))
	for n := range len(e.payload) {
		short := e.with(e.payload[:n:n])
		switch {
		case n < 8:
			cut = append(cut, short.dropped("malformed"))
		case n < enough:
			cut = append(cut, short.dropped("icmp_unknown"))
			padded = append(padded, short.padded(e.payload[n:]...).dropped("icmp_unknown"))
		default:
			cut = append(cut, short.steered(tx, web, answerTo(s)))
			padded = append(padded, short.padded(e.payload[n:]...).steered(tx, web, answerTo(s)))
		}
	}
	return []packetCase{{"errors cut at every byte", one(web), cut}, {"errors cut and padded", one(web), padded}}
}

// toBackend is an error about what web's client got, on its way to the backend
// of snat: of what the program made, only the pair is taken.
func (f frame) toBackend(t target, quoted frame) step {
	s := f.step(tx, f, "")
	s.from = func(got []byte) []byte {
		pair := port(f.from.Addr(), 0)
		if src, _, ok := addresses(got); ok {
			at := 14 + headerSize(f) + 8 + headerSize(f) + 2
			if len(got) < at+2 {
				return nil
			}
			pair = port(src, binary.BigEndian.Uint16(got[at:]))
		}
		if pair.Port() < 1024 || !slices.Contains(slices.Concat(sources.Source4, sources.Source6), pair.Addr()) {
			return nil
		}
		return f.aboutInside(quoted, t.real(quoted.from.Port()), pair).mac(macOf(t.at.Addr()), balancerMAC).bytes()
	}
	return s.move(t, counts{packets: 1, bytes: int64(len(s.in))})
}

// headerSize is the size of f's IP header.
func headerSize(f frame) int {
	if f.from.Addr().Is4() {
		return 20
	}
	return 40
}

// aboutInside is an error that quotes a packet as sent between other ends, from
// whom that was sent to. The quoted checksum of TCP or UDP stays.
func (f frame) aboutInside(quoted frame, from, to netip.AddrPort) frame {
	sent, inside := quoted.bytes()[14:], quoted.source(from).dest(to).bytes()[14:]
	l4 := len(sent) - len(quoted.transport())
	at := map[uint8]int{tcp: 16, udp: 6}[quoted.proto]
	copy(inside[l4+at:l4+at+2], sent[l4+at:])
	f.payload = slices.Concat(f.payload[:8], inside[:len(f.payload)-8])
	return f.source(port(to.Addr(), 0)).dest(port(from.Addr(), 0)).ttl(f.hops - 1)
}

// snatErrorCases: errors about flows that have a source of ours, from either
// side.
func snatErrorCases(f family) []packetCase {
	web, dns := snat(f.web, f.a), snat(f.dns, f.a)
	services := append(one(web), one(dns)...)
	s := packet(tcp, f.client, at(f.web)).carrying(syn)
	q := packet(udp, f.client, at(f.dns))
	big, unreachable := errorKinds(f)[0], errorKinds(f)[1]
	begin := list(s.sent(web).opens(web), q.sent(dns).opens(dns))
	on := func(steps ...step) []step { return slices.Concat(begin, steps) }
	about := func(in frame, t target, kind [3]uint32) step { return quoting(f, in, kind).toBackend(t, answerTo(in)) }
	var kinds []step
	for _, kind := range errorKinds(f) {
		kinds = append(kinds, about(s, web, kind).of(s, "embryonic"), about(q, dns, kind))
	}
	return []packetCase{
		{"errors about a flow of snat", services, on(kinds...)},
		{"errors about snat of TTL 1", services, on(quoting(f, s, big).ttl(1).dropped("ttl"))},
		{"errors about no flow of snat", services, list(
			quoting(f, s, big).dropped("icmp_unknown"), quoting(f, s, unreachable).dropped("icmp_unknown"))},
		{"errors that are padded, about snat", services, on(quoting(f, s, big).padded(1, 2, 3).toBackend(web, answerTo(s)))},
		{"errors with wrong checksums about snat stay as wrong", services, on(quoting(f, s, big).wrong(0x77).toBackend(web, answerTo(s)))},
		{"errors to a source that nobody has", services, on(
			erring(f, unreachable, packet(tcp, port(sourceIn(f), 5000), web.at)).passed("not_vip"))},
	}
}

// sourceIn is an address of ours for snat.
func sourceIn(f family) netip.Addr {
	if f.client.Addr().Is4() {
		return sources.Source4[0]
	}
	return sources.Source6[0]
}

// TestErrorsToSNATSources: what a backend, or a router before it, reports of a
// client's packet reaches the client as said by the VIP of what the client had
// sent.
func TestErrorsToSNATSources(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		for _, v := range []lb.VIP{f.web, f.dns, f.all} {
			proto := uint8(v.Proto)
			real := uint16(8080)
			if v.Port == 0 {
				v, real = lb.VIP{Addr: v.Addr, Proto: v.Proto}, 0
			}
			b := target{v, port(f.a, real), lb.SNAT}
			l.load(t, one(b)...)
			to := at(v)
			if v.Port == 0 {
				to = port(v.Addr, 8443)
			}
			client := packet(proto, f.client, to)
			got := l.sends(t, client)
			pair, ok := sourceOf(client, got)
			if !ok {
				t.Fatalf("%s of %s: nothing was sent", v, f.name)
			}
			there := client.source(pair).dest(b.real(to.Port())).ttl(63)
			for _, kind := range errorKinds(f) {
				for _, reporter := range []netip.AddrPort{b.at, f.far} {
					e := erring(f, kind, there).source(port(reporter.Addr(), 0))
					want := e.aboutInside(there, client.from, to).mac(gatewayMAC, balancerMAC)
					s := e.step(tx, want, "").move(b, counts{replies: 1, replyBytes: int64(len(e.bytes()))})
					if wrong := l.runStep(t, s); len(wrong) > 0 {
						t.Fatalf("%s of %s, %v by %s: %s", v, f.name, kind, reporter, strings.Join(wrong, "\n"))
					}
				}
			}
			other := erring(f, errorKinds(f)[1], there.dest(port(f.b, 8080)))
			if wrong := l.runStep(t, other.passed("not_vip")); len(wrong) > 0 {
				t.Errorf("about another backend: %s", strings.Join(wrong, "\n"))
			}
		}
	}
}

// sends runs a frame that shall be sent on.
func (l *lab) sends(t *testing.T, f frame) []byte {
	t.Helper()
	var out []byte
	err := l.ns.Do(func() error {
		v, got, err := l.run("in0", f.bytes())
		if v != tx && v != redirect {
			t.Errorf("verdict %v", v)
		}
		out = got
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// anyPort is a backend of nat to which the port stays as it is.
func anyPort(v lb.VIP, a netip.Addr) target { return target{v, port(a, 0), lb.NAT} }
