package bpf_test

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"weir/loader/lb"
)

// One flow has one outer source and port, many flows have many.
func TestTunnelSourcesFollowFlows(t *testing.T) {
	l := newLab(t)
	const n = 300
	for _, p := range pairings {
		for _, to := range []target{p.ipip(p.inner.web, p.inner.a), p.gue(p.inner.web, p.inner.a)} {
			t.Run(p.inner.name+" in "+p.outer.name+" by "+to.forward.String(), func(t *testing.T) {
				l.load(t, one(to)...)
				sources := map[uint32]bool{}
				for i := range n {
					s := client(p.inner, i)
					first := l.mustWrap(t, to, s)
					sources[first] = true
					for _, next := range []frame{s.carrying(ack), s.carrying(ack).class(0xb8).ttl(9), s.carrying(fin | ack)} {
						if again := l.mustWrap(t, to, next); again != first {
							t.Errorf("flow %d has %#x and then %#x", i, first, again)
						}
					}
				}
				if len(sources) < n-10 { // of 65,536: 0.7 that are twice
					t.Errorf("%d flows have %d sources", n, len(sources))
				}
			})
		}
	}
}

// mustWrap sends a packet into a tunnel and returns the flow's hash.
func (l *lab) mustWrap(t *testing.T, to target, f frame) uint32 {
	t.Helper()
	v, out := l.mustRun(t, f.bytes())
	if want := to.around(f, out); v != tx || !bytes.Equal(want, out) {
		t.Fatalf("verdict %v, want TX\n%s", v, difference(f.bytes(), want, out))
	}
	hash, _ := outerHash(to, out)
	return hash
}

// A too-big message whose flow this node does not know goes to the backend that
// the flow's packets would go to.
func TestTooBigOfUnknownFlowsFollowsTheHash(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		a, b := dsr(f.web, f.a), dsr(f.web, f.b)
		svc := twoBackends(a, b)
		svc.algo, svc.table = lb.Maglev, []uint32{0, 1, 1, 0, 1, 0, 0}
		l.load(t, svc)
		share := map[netip.AddrPort]int{}
		for i := range 200 {
			in := client(f, i)
			_, out := l.mustRun(t, quoting(f, in, errorKinds(f)[0]).bytes())
			if l.flowState(t, in.key()) != none {
				t.Fatal("an error stored a flow")
			}
			chosen := l.picks(t, 1, func(int) frame { return in })[0]
			share[chosen]++
			if mac(out[:6]) != macOf(chosen.Addr()) {
				t.Errorf("%s: the error of flow %d went to %x, its packets go to %s", f.name, i, out[:6], chosen)
			}
		}
		if share[a.at] < 50 || share[b.at] < 50 {
			t.Errorf("%s: backends are chosen %v times", f.name, share)
		}
	}
}

// answerWindow is how long a budget of answers lasts, as a power of 2 ns.
const answerWindow = 24

// One CPU sends 16 answers in a window; what else is too big is dropped as it
// is.
func TestTooBigAnswersAreLimited(t *testing.T) {
	l := newLab(t)
	for _, p := range pairings {
		to := p.ipip(p.inner.web, p.inner.a)
		l.load(t, one(to)...)
		big := packet(tcp, p.inner.client, at(p.inner.web)).frag(0x4000).with(make([]byte, 1460)).bytes()
		got := l.answersInOneWindow(t, big, 40)
		if want := (answered{tx: 16, dropped: 40, sent: 16}); got != want {
			t.Errorf("%s in %s: %+v, want %+v", p.inner.name, p.outer.name, got, want)
		}
	}
}

// answered is what became of packets that are too big: verdicts and counters.
type answered struct{ tx, dropped, sent int64 }

func (l *lab) answersInOneWindow(t *testing.T, big []byte, packets int) answered {
	t.Helper()
	for range 100 {
		if err := l.nextAnswers(); err != nil {
			t.Fatal(err)
		}
		before := l.counters(t).reasons
		sent, whole, err := l.answersOfOneCPU(t, big, packets)
		if err != nil {
			t.Fatal(err)
		}
		after := l.counters(t).reasons
		if whole {
			return answered{
				tx:      sent,
				dropped: after["drop too_big"] - before["drop too_big"],
				sent:    after["sent too_big"] - before["sent too_big"],
			}
		}
	}
	t.Fatalf("no window was long enough for %d packets", packets)
	return answered{}
}

// answersOfOneCPU counts answers, and says whether one window saw them all.
func (l *lab) answersOfOneCPU(t *testing.T, big []byte, packets int) (sent int64, whole bool, err error) {
	err = l.ns.Do(func() (err error) {
		release, err := pin()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, release()) }()
		start := window(t)
		for range packets {
			v, out, err := l.run("in0", big)
			if err != nil {
				return err
			}
			if v == tx {
				sent++
			} else if v != drop || !bytes.Equal(out, big) {
				t.Errorf("verdict %v, want DROP\n%s", v, difference(big, big, out))
			}
		}
		whole = window(t) == start
		return nil
	})
	return sent, whole, err
}

func window(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() >> answerWindow
}

// pin keeps the locked thread on one CPU until it is released.
func pin() (release func() error, err error) {
	var all, one unix.CPUSet
	one.Set(0)
	err = errors.Join(unix.SchedGetaffinity(0, &all), unix.SchedSetaffinity(0, &one))
	return func() error { return unix.SchedSetaffinity(0, &all) }, err
}
