package bpf_test

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"weir/bpf"
	"weir/loader/lb"
)

// mustRun runs the program on a frame from in0.
func (l *lab) mustRun(t testing.TB, in []byte) (v verdict, out []byte) {
	t.Helper()
	err := l.ns.Do(func() (err error) {
		v, out, err = l.run("in0", in)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v, out
}

// mustMask sends a request to a backend of snat and returns the source that it
// was given, all else being right.
func (l *lab) mustMask(t testing.TB, to target, f frame) netip.AddrPort {
	t.Helper()
	v, out := l.mustRun(t, f.bytes())
	want := to.masked(f, out)
	if v != tx || want == nil || !bytes.Equal(out, want) {
		t.Fatalf("verdict %v, want TX\n%s", v, difference(f.bytes(), want, out))
	}
	pair, _ := sourceOf(f, out)
	return pair
}

// replyTo is a packet from the backend to one of our sources.
func (t target) replyTo(f frame, pair netip.AddrPort) frame { return t.reply(f).dest(pair) }

// unmasked is how a reply to a source of ours goes to the client.
func (f frame) unmasked(t target, client netip.AddrPort) frame { return t.back(f).dest(client) }

func (f frame) restored(t target, client frame) step {
	return f.step(tx, f.unmasked(t, client.from), "").replies(t).of(client, "")
}

// Requests and replies of any content, with their checksums.
func TestSNATOfRandomPackets(t *testing.T) {
	l := newLab(t)
	r := rand.New(rand.NewPCG(5, 6))
	for _, f := range []family{ip4, ip6} {
		keep := target{f.allUDP, port(f.b, 0), lb.SNAT}
		for _, to := range []target{snat(f.web, f.a), snat(f.dns, f.a), keep} {
			t.Run(to.vip.String(), func(t *testing.T) {
				l.load(t, one(to)...)
				for range 1000 {
					in := packet(uint8(to.vip.Proto), someone(f, r), at(to.vip)).randomly(r)
					if to.vip.Port == 0 {
						in = in.dest(port(to.vip.Addr, uint16(r.Uint32())))
					}
					pair := l.mustMask(t, to, in)
					answer := to.replyTo(in, pair).randomly(r)
					want := answer.unmasked(to, in.from).bytes()
					if v, out := l.mustRun(t, answer.bytes()); v != tx || !bytes.Equal(out, want) {
						t.Fatalf("verdict %v, want TX\n%s", v, difference(answer.bytes(), want, out))
					}
				}
			})
		}
	}
}

func TestSNATRepliesComeFromTheVIP(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		web, dns := snat(f.web, f.a), snat(f.dns, f.a)
		l.load(t, append(one(web), one(dns)...)...)
		s := packet(tcp, f.client, at(f.web)).carrying(syn)
		q := packet(udp, f.client, at(f.dns))
		pair, other := l.mustMask(t, web, s), l.mustMask(t, dns, q)
		r, u := web.replyTo(s, pair), dns.replyTo(q, other)
		for _, step := range list(
			r.carrying(syn|ack).restored(web, s),
			r.restored(web, s),
			r.with(nil).padded(1, 2, 3, 4, 5, 6).restored(web, s),
			r.wrong(9).restored(web, s),
			u.restored(dns, q),
			r.ttl(2).restored(web, s),
			r.ttl(1).dropped("ttl"),
			r.carrying(fin|ack).restored(web, s),
			r.carrying(rst).step(tx, r.carrying(rst).unmasked(web, s.from), "").resets(web).of(s, "closed"),
		) {
			l.mustStep(t, step)
		}
	}
}

// Whatever is not from the flow's backend is left alone, and does nothing to
// the flow.
func TestSNATIgnoresStrangers(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		a, b, dns := snat(f.web, f.a), snat(f.web, f.b), snat(f.dns, f.a)
		l.load(t, append([]service{twoBackends(a, b)}, one(dns)...)...)
		s := packet(tcp, f.client, at(f.web)).carrying(syn)
		second := packet(tcp, f.other, at(f.web)).carrying(syn)
		pair, other := l.mustMask(t, a, s), l.mustMask(t, b, second)
		r := a.replyTo(s, pair)
		for _, step := range list(
			b.replyTo(s, pair).passed("not_vip"),
			b.replyTo(s, pair).carrying(rst).passed("not_vip"),
			a.replyTo(s, other).passed("not_vip"),
			a.replyTo(s, other).carrying(rst).passed("not_vip"),
			r.source(port(f.a, 8081)).passed("not_vip"),
			r.source(port(f.a, 8081)).carrying(rst).passed("not_vip"),
			dns.replyTo(packet(udp, f.client, at(f.dns)), pair).passed("not_vip"),
			r.source(f.stranger).passed("not_vip"),
			r.source(f.stranger).carrying(rst).passed("not_vip"),
			r.dest(port(pair.Addr(), pair.Port()^1)).passed("not_vip"),
			r.dest(port(pair.Addr(), 80)).passed("not_vip"),
			r.dest(port(pair.Addr(), 1023)).passed("not_vip"),
			r.dest(f.client).passed("not_vip"),
			r.dest(f.own).passed("not_vip"),
		) {
			l.mustStep(t, step.of(s, "embryonic"))
		}
		if got := l.pairStates(t); got["embryonic"] != 2 || len(got) != 1 {
			t.Errorf("%s: the sources of two new flows are %v", f.name, got)
		}
		l.mustStep(t, r.restored(a, s))
		l.mustStep(t, b.replyTo(second, other).restored(b, second))
	}
}

// Each of many flows has a source of its own, and keeps it.
func TestSNATSourcesAreDistinct(t *testing.T) {
	c := defaults()
	c.Limits.Flows = 1 << 16
	l := newLabWith(t, c)
	const n = 10000
	for _, f := range []family{ip4, ip6} {
		web, dns := snat(f.web, f.a), snat(f.dns, f.b)
		l.load(t, append(one(web), one(dns)...)...)
		flow := func(i int) (target, frame) {
			if i%2 == 0 {
				return dns, packet(udp, port(f.client.Addr(), uint16(i)), at(f.dns))
			}
			return web, packet(tcp, port(f.client.Addr(), uint16(i)), at(f.web)).carrying(syn)
		}
		pairs, taken, used := make([]netip.AddrPort, n), map[netip.AddrPort]int{}, map[netip.Addr]int{}
		for i := range n {
			to, in := flow(i)
			pairs[i] = l.mustMask(t, to, in)
			if before, ok := taken[pairs[i]]; ok {
				t.Fatalf("flows %d and %d both have %s", before, i, pairs[i])
			}
			taken[pairs[i]] = i
			used[pairs[i].Addr()]++
		}
		for i := range n {
			to, in := flow(i)
			if again := l.mustMask(t, to, in.carrying(ack)); again != pairs[i] {
				t.Errorf("flow %d had %s and then %s", i, pairs[i], again)
			}
		}
		for a, share := range used { // half, with a standard deviation of 50
			if share < n/2-300 || share > n/2+300 || len(used) != 2 {
				t.Errorf("%s has %d of %d flows", a, share, n)
			}
		}
		if use, err := l.Sweep(); err != nil || use.SNATUsed != n || use.SNATSlots != 4*64512 {
			t.Errorf("a sweep finds %d of %d sources in use (%v), want %d of %d", use.SNATUsed, use.SNATSlots, err, n, 4*64512)
		}
	}
}

// pairStates counts the sources in use by their flows' states.
func (l *lab) pairStates(t *testing.T) map[string]int {
	t.Helper()
	names := []string{"", "reverse", "embryonic", "established", "stream", "closing", "closed"}
	out := map[string]int{}
	for _, word := range l.pairWords(t) {
		if word != 0 {
			out[names[word&7]]++
		}
	}
	return out
}

// Sources are given back as flows end.
func TestSNATSourcesAreFreed(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		web, dns := snat(f.web, f.a), snat(f.dns, f.a)
		s := packet(tcp, f.client, at(f.web)).carrying(syn)
		q := packet(udp, f.client, at(f.dns))
		data, end, reset := s.carrying(ack), s.carrying(fin|ack), s.carrying(rst)
		for _, c := range []struct {
			name    string
			to      target
			packets []frame
			resets  bool // by the backend, at last
			state   string
			kept    time.Duration
			freed   time.Duration
		}{
			{"embryonic", web, []frame{s}, false, "embryonic", 25 * time.Second, 40 * time.Second},
			{"established", web, []frame{s, data}, false, "established", 890 * time.Second, 920 * time.Second},
			{"closing", web, []frame{s, data, end}, false, "closing", 50 * time.Second, 70 * time.Second},
			{"reset", web, []frame{s, data, reset}, false, "closing", 50 * time.Second, 70 * time.Second},
			{"reset after closing", web, []frame{s, data, end, reset}, false, "closing", 50 * time.Second, 70 * time.Second},
			{"reset at once", web, []frame{s, reset}, false, "closed", 0, 10 * time.Second},
			{"closed by the backend", web, []frame{s, data}, true, "closed", 0, 10 * time.Second},
			{"one UDP packet", dns, []frame{q}, false, "embryonic", 25 * time.Second, 40 * time.Second},
			{"UDP", dns, []frame{q, q}, false, "stream", 50 * time.Second, 70 * time.Second},
		} {
			t.Run(f.name+" "+c.name, func(t *testing.T) {
				l.load(t, append(one(web), one(dns)...)...)
				var pair netip.AddrPort
				for _, p := range c.packets {
					pair = l.mustMask(t, c.to, p)
				}
				if c.resets {
					l.mustRun(t, c.to.replyTo(s, pair).carrying(rst).bytes())
				}
				if got := l.pairStates(t); got[c.state] != 1 || len(got) != 1 {
					t.Fatalf("sources are %v, want one that is %s", got, c.state)
				}
				idle(c.kept)(t, l)
				if got := l.pairStates(t); got[c.state] != 1 {
					t.Errorf("after %s sources are %v, want one that is %s", c.kept, got, c.state)
				}
				idle(c.freed-c.kept)(t, l)
				if got := l.pairStates(t); len(got) != 0 {
					t.Errorf("after %s sources are %v, want none", c.freed, got)
				}
			})
		}
	}
}

// Replies keep the source of a flow that only the backend sends in.
func TestSNATRepliesKeepTheSource(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		web := snat(f.web, f.a)
		l.load(t, one(web)...)
		s := packet(tcp, f.client, at(f.web)).carrying(syn)
		pair := l.mustMask(t, web, s)
		l.mustMask(t, web, s.carrying(ack))
		for range 4 {
			idle(10*time.Minute)(t, l)
			l.mustStep(t, web.replyTo(s, pair).restored(web, s))
		}
		if again := l.mustMask(t, web, s.carrying(ack)); again != pair {
			t.Errorf("%s: the flow had %s and then %s", f.name, pair, again)
		}
	}
}

// A new connection of the same client and port, to the same backend or to
// another.
func TestSNATOfAPortUsedAgain(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		a, b := snat(f.web, f.a), snat(f.web, f.b)
		l.load(t, twoBackends(a, b))
		s := packet(tcp, f.client, at(f.web)).carrying(syn)
		for i, to := range []target{a, b, a} {
			pair := l.mustMask(t, to, s)
			if got := l.flowState(t, s.key()); got != "embryonic" {
				t.Errorf("%s: connection %d is %q", f.name, i, got)
			}
			l.mustMask(t, to, s.carrying(ack))
			l.mustStep(t, to.replyTo(s, pair).restored(to, s))
			l.mustMask(t, to, s.carrying(rst))
		}
	}
}

// fillPairs puts all sources of ours in use by flows in a state.
func (l *lab) fillPairs(t *testing.T, state bpf.WeirFlowState) {
	t.Helper()
	words := l.pairWords(t)
	now := flowClock(t)
	for i := range words {
		words[i] = 0xffff_ffff<<32 | 1<<14 | now<<3 | uint64(state)
	}
	l.setPairWords(t, words)
}

// Where all sources are live a flow gets none, and takes nobody's.
func TestSNATExhaustion(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		web := snat(f.web, f.a)
		l.load(t, one(web)...)
		s := packet(tcp, f.client, at(f.web)).carrying(syn)
		lost := counts{flows: 1, active: 1}
		l.fillPairs(t, bpf.WeirFlowStateFLOW_ESTABLISHED)
		before := l.pairWords(t)
		l.mustStep(t, s.dropped("snat_exhausted").move(web, lost))
		l.mustStep(t, s.dropped("snat_exhausted"))
		l.mustStep(t, s.carrying(ack).dropped("snat_exhausted"))
		if !slices.Equal(before, l.pairWords(t)) {
			t.Error("a flow without source changed those of others")
		}
		l.age(t, 16*time.Minute)
		l.mustMask(t, web, s) // of one that is idle
		for _, state := range []bpf.WeirFlowState{bpf.WeirFlowStateFLOW_EMBRYONIC, bpf.WeirFlowStateFLOW_CLOSED} {
			l.load(t, one(web)...)
			l.fillPairs(t, state)
			l.mustMask(t, web, s)
		}
	}
}

// A flow may have a source of either of two sets: where half of the sets are
// full, three of four flows find one.
func TestSNATTriesTwoSets(t *testing.T) {
	l := newLab(t)
	const flows = 400
	for _, f := range []family{ip4, ip6} {
		web := snat(f.web, f.a)
		l.load(t, one(web)...)
		l.fillPairs(t, bpf.WeirFlowStateFLOW_ESTABLISHED)
		words := l.pairWords(t)
		for i := range words {
			if i/slots%2 == 0 {
				words[i] = 0
			}
		}
		l.setPairWords(t, words)
		found := 0
		for i := range flows {
			if v, _ := l.mustRun(t, client(f, i).bytes()); v == tx {
				found++
			}
		}
		if found < 260 || found > 340 { // 300, with a standard deviation of 9
			t.Errorf("%s: %d of %d flows found a source, want 3 of 4", f.name, found, flows)
		}
	}
}
