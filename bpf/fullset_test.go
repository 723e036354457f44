package bpf_test

import (
	"testing"
	"time"

	"weir/loader/lb"
)

const slots = 8 // of a set of the flow table

// fullSet is a lab whose flow table is one set, with eight flows in it; state
// says how far each has got.
func fullSet(t *testing.T, f family, to target, grow func(*lab, frame) []step) *lab {
	l := newLabWith(t, lb.Config{
		Limits:   lb.Limits{Services: 4, Backends: 8, Flows: 1, TableEntries: 1 << 10},
		Timeouts: lb.Timeouts{Embryonic: 30 * time.Second, Established: 15 * time.Minute, Closing: time.Minute, UDP: time.Minute},
	})
	l.load(t, one(to)...)
	for i := range slots {
		for _, s := range grow(l, client(f, i)) {
			l.mustStep(t, s)
		}
	}
	return l
}

// client is a SYN of one of many clients.
func client(f family, i int) frame {
	return packet(tcp, port(f.client.Addr(), uint16(50000+i)), at(f.web)).carrying(syn)
}

func (l *lab) mustStep(t *testing.T, s step) {
	t.Helper()
	for _, wrong := range l.runStep(t, s) {
		t.Error(wrong)
	}
}

func TestLiveFlowsAreNotEvicted(t *testing.T) {
	for _, f := range []family{ip4, ip6} {
		to := nat(f.web, f.a)
		l := fullSet(t, f, to, func(_ *lab, s frame) []step {
			return list(s.sent(to).opens(to), s.carrying(ack).sent(to).hits(to).is("established"))
		})
		for i := slots; i < slots+50; i++ {
			s := client(f, i)
			l.mustStep(t, s.sent(to).move(to, counts{unstored: 1, packets: 1, bytes: int64(len(s.bytes()))}).is(none))
			l.mustStep(t, to.reply(s).answered(to).replies(to))
		}
		for i := range slots {
			l.mustStep(t, client(f, i).carrying(ack).sent(to).hits(to).is("established"))
		}
	}
}

// A flow that its client has ended gives way once it has been silent for a
// while, even if other flows are new: a forged RST does not end a live one.
func TestEndedFlowsGiveWayWhenSilent(t *testing.T) {
	for _, f := range []family{ip4, ip6} {
		to := nat(f.web, f.a)
		l := fullSet(t, f, to, func(_ *lab, s frame) []step {
			return list(s.sent(to).opens(to), s.carrying(ack).sent(to).hits(to))
		})
		ended, last := client(f, 3), client(f, slots)
		unstored := counts{unstored: 1, packets: 1, bytes: int64(len(last.bytes()))}
		l.mustStep(t, ended.carrying(rst).sent(to).ends(to).is("closing"))
		for range 3 {
			l.mustStep(t, last.sent(to).move(to, unstored).is(none))
			l.age(t, 10*time.Second)
			l.mustStep(t, ended.carrying(ack).sent(to).hits(to).is("closing"))
		}
		l.age(t, 15*time.Second)
		l.mustStep(t, last.sent(to).opens(to).is("embryonic"))
		l.mustStep(t, to.reply(ended).passed("not_vip").of(ended, none))
	}
}

func TestAFloodEvictsOnlyEmbryonicFlowsOldestFirst(t *testing.T) {
	to := dsr(ip4.web, ip4.a)
	n := 0
	l := fullSet(t, ip4, to, func(l *lab, s frame) []step {
		l.age(t, 5*time.Second)
		n++
		if n <= 2 {
			return list(s.sent(to).opens(to), s.carrying(ack).sent(to).hits(to))
		}
		return list(s.sent(to).opens(to))
	})
	evicts := counts{flows: 1, packets: 1, bytes: int64(len(client(ip4, 0).bytes()))}
	for i := slots; i < slots+6; i++ {
		oldest := client(ip4, i-6)
		if got := l.flowState(t, oldest.key()); got != "embryonic" {
			t.Fatalf("flow %d was %q before its turn", i-6, got)
		}
		l.age(t, 5*time.Second)
		l.mustStep(t, client(ip4, i).sent(to).move(to, evicts).of(oldest, none))
	}
	for i := range 2 {
		l.mustStep(t, client(ip4, i).carrying(ack).sent(to).hits(to).is("established"))
	}
}

func TestAnIdleFlowIsReplacedWithoutASweep(t *testing.T) {
	to := dsr(ip6.web, ip6.a)
	l := fullSet(t, ip6, to, func(_ *lab, s frame) []step {
		return list(s.sent(to).opens(to), s.carrying(ack).sent(to).hits(to))
	})
	l.age(t, 16*time.Minute)
	for i := 1; i < slots; i++ {
		l.mustStep(t, client(ip6, i).carrying(ack).sent(to).hits(to))
	}
	s := client(ip6, slots)
	l.mustStep(t, s.sent(to).move(to, counts{flows: 1, packets: 1, bytes: int64(len(s.bytes()))}).of(client(ip6, 0), none))
}
