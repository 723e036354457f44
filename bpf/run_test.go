package bpf_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"weir/loader/lb"
)

// packetCase is one row of the tables: services, then packets one after the
// other and all that each of them does.
type packetCase struct {
	name     string
	services []service
	steps    []step
}

// step is one packet and what is expected of it.
type step struct {
	in      []byte
	key     lb.FlowKey
	ingress string
	verdict verdict
	out     []byte
	from    func(got []byte) []byte // what out is, where the flow's hash has a part in it
	reason  string                  // the counters that move, separated by commas; "" for none
	moved   map[owner]counts
	flow    string // state of the flow afterwards; "" is not looked at
	check   lb.FlowKey
	before  func(*testing.T, *lab)
}

type owner struct {
	vip lb.VIP
	at  netip.AddrPort
}

// counts are changes of one backend's counters.
type counts struct{ flows, unstored, packets, bytes, replies, replyBytes, active int64 }

func (f frame) step(v verdict, out frame, reason string) step {
	return step{in: f.bytes(), key: f.key(), check: f.key(), ingress: "in0", verdict: v, out: out.bytes(), reason: reason}
}

// forwarded is a frame that goes to a backend.
func (f frame) forwarded(v verdict, t target) step {
	s := f.step(v, f, "")
	switch {
	case t.forward.Tunnel():
		s.from = func(got []byte) []byte { return t.around(f, got) }
	case t.forward == lb.SNAT:
		s.from = func(got []byte) []byte { return t.masked(f, got) }
	default:
		s.out = t.through(f).bytes()
	}
	return s
}

// What happens to a frame. Dropped and passed frames are not touched.
func (f frame) sent(t target) step         { return f.forwarded(tx, t) }
func (f frame) redirected(t target) step   { return f.forwarded(redirect, t) }
func (f frame) dropped(reason string) step { return f.step(drop, f, "drop "+reason) }
func (f frame) passed(reason string) step  { return f.step(pass, f, "pass "+reason) }
func (f frame) answered(t target) step     { return f.step(tx, t.back(f), "") }
func (f frame) handed(t target, reason string) step {
	return f.step(pass, t.backLocal(f), "pass "+reason)
}

// echoed: an echo request is answered, by nothing but turning it round.
func (f frame) echoed() step {
	reply := f.mac(f.src, f.dst).source(f.to).dest(f.from)
	reply.payload = slices.Clone(f.payload)
	reply.payload[0] = map[uint8]uint8{icmp: 0, icmp6: 129}[f.proto]
	return f.step(tx, reply, "sent echo_reply").is(none)
}

func (s step) move(t target, n counts) step {
	s.moved = maps.Clone(s.moved)
	if s.moved == nil {
		s.moved = map[owner]counts{}
	}
	s.moved[owner{t.vip, t.at}] = n
	return s
}

// What the frame does to the backend's counters.
func (s step) opens(t target) step {
	return s.move(t, counts{flows: 1, active: 1, packets: 1, bytes: int64(len(s.in))})
}
func (s step) hits(t target) step { return s.move(t, counts{packets: 1, bytes: int64(len(s.in))}) }
func (s step) ends(t target) step {
	return s.move(t, counts{active: -1, packets: 1, bytes: int64(len(s.in))})
}
func (s step) replies(t target) step {
	return s.move(t, counts{replies: 1, replyBytes: int64(len(s.in))})
}
func (s step) resets(t target) step {
	return s.move(t, counts{replies: 1, replyBytes: int64(len(s.in)), active: -1})
}

// is says what state the frame's own flow is in afterwards, of that another's.
func (s step) is(state string) step                { s.flow = state; return s }
func (s step) of(f frame, state string) step       { s.check, s.flow = f.key(), state; return s }
func (s step) on(iface string) step                { s.ingress = iface; return s }
func (s step) after(f func(*testing.T, *lab)) step { s.before = f; return s }

const none = "none" // no flow is stored

// runCase loads a case's services and runs its packets.
func (l *lab) runCase(t *testing.T, c packetCase) {
	l.load(t, c.services...)
	for i, s := range c.steps {
		if s.before != nil {
			s.before(t, l)
		}
		if wrong := l.runStep(t, s); len(wrong) > 0 {
			t.Fatalf("packet %d: %s", i+1, strings.Join(wrong, "\n"))
		}
	}
}

// runStep runs one packet and says what was not as expected.
func (l *lab) runStep(t *testing.T, s step) (wrong []string) {
	t.Helper()
	before := l.counters(t)
	var got verdict
	var out []byte
	err := l.ns.Do(func() (err error) {
		got, out, err = l.run(s.ingress, s.in)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	after := l.counters(t)
	if s.from != nil {
		s.out = s.from(out)
	}
	if got != s.verdict {
		wrong = append(wrong, fmt.Sprintf("verdict %v, want %v", got, s.verdict))
	}
	if !bytes.Equal(out, s.out) {
		wrong = append(wrong, "packet out\n"+difference(s.in, s.out, out))
	}
	wrong = append(wrong, after.reasonsSince(before, s.reason)...)
	wrong = append(wrong, after.backendsSince(before, s.moved)...)
	if state := l.flowState(t, s.check); s.flow != "" && state != s.flow {
		wrong = append(wrong, fmt.Sprintf("flow is %q, want %q", state, s.flow))
	}
	return wrong
}

func (l *lab) flowState(t *testing.T, k lb.FlowKey) string {
	t.Helper()
	f, found, err := l.FindFlow(k)
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		return none
	}
	return f.State
}

// difference shows frames as hex with the bytes that are wrong marked.
func difference(in, want, got []byte) string {
	var mark strings.Builder
	for i := range max(len(want), len(got)) {
		same := i < len(want) && i < len(got) && want[i] == got[i]
		mark.WriteString(map[bool]string{true: "  ", false: "^^"}[same])
	}
	return fmt.Sprintf("in   %s\nwant %s\ngot  %s\n     %s", hex.EncodeToString(in), hex.EncodeToString(want), hex.EncodeToString(got), mark.String())
}

// reading is all counters at one time.
type reading struct {
	reasons  map[string]int64
	backends map[owner]counts
}

func (l *lab) counters(t testing.TB) reading {
	t.Helper()
	c, err := l.Counters()
	if err != nil {
		t.Fatal(err)
	}
	r := reading{map[string]int64{}, map[owner]counts{}}
	for _, n := range c.Reasons {
		r.reasons[n.Verdict+" "+n.Reason] = int64(n.Packets)
	}
	for _, b := range c.Backends {
		r.backends[owner{b.VIP, b.Endpoint}] = counts{
			flows: int64(b.Flows), unstored: int64(b.Unstored), packets: int64(b.Packets), bytes: int64(b.Bytes),
			replies: int64(b.ReplyPackets), replyBytes: int64(b.ReplyBytes), active: int64(b.Active),
		}
	}
	return r
}

// reasonsSince says which counters moved otherwise than only those in `wanted`
// by 1.
func (r reading) reasonsSince(before reading, wanted string) (wrong []string) {
	want := map[string]bool{}
	for name := range strings.SplitSeq(wanted, ",") {
		if want[name] = true; name == "" {
			continue
		}
		if _, known := r.reasons[name]; !known {
			return []string{fmt.Sprintf("there is no counter %q", name)}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.reasons)) {
		moved, expected := r.reasons[name]-before.reasons[name], int64(0)
		if want[name] {
			expected = 1
		}
		if moved != expected {
			wrong = append(wrong, fmt.Sprintf("counter %q moved by %d, want %d", name, moved, expected))
		}
	}
	return wrong
}

func (r reading) backendsSince(before reading, want map[owner]counts) (wrong []string) {
	for o := range want {
		if _, known := r.backends[o]; !known {
			wrong = append(wrong, fmt.Sprintf("there is no backend %s of %s", o.at, o.vip))
		}
	}
	for o, now := range r.backends {
		if moved := now.minus(before.backends[o]); moved != want[o] {
			wrong = append(wrong, fmt.Sprintf("backend %s of %s: counters moved by %+v, want %+v", o.at, o.vip, moved, want[o]))
		}
	}
	return wrong
}

func (c counts) minus(d counts) counts {
	return counts{
		c.flows - d.flows, c.unstored - d.unstored, c.packets - d.packets, c.bytes - d.bytes,
		c.replies - d.replies, c.replyBytes - d.replyBytes, c.active - d.active,
	}
}
