package health

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"weir/loader/health/syn"
	"weir/loader/lb"
)

// knocker is a Knocker whose outcomes the test sets.
type knocker struct {
	outcome syn.Outcome
	fault   error
	sent    int
}

func (k *knocker) Send(targets []*syn.Target) error {
	if k.fault != nil {
		return k.fault
	}
	k.sent += len(targets)
	outcome, after := k.outcome, time.Millisecond
	if outcome == syn.Silent {
		after = syn.Patience
	}
	for _, t := range targets {
		time.AfterFunc(after, func() { t.Hear(outcome) })
	}
	return nil
}

// knocking runs a set with one target, whose connections the fake stands for,
// over 30 s.
func knocking(t *testing.T, k *knocker, f *fake, h lb.Health) (st Status, counts Counts) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(Options{Seed: 1, SYN: k, Open: func(Target) (Checker, error) { return f, nil }})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		watch(t, s, target(1, h))
		time.Sleep(30 * time.Second)
		st, _ = s.Status(key(1))
		counts = s.Counts()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		time.Sleep(time.Second) // who is late is heard, and changes nothing
		if c := s.Counts(); c.Checks != counts.Checks || c.Running != 0 {
			t.Errorf("after the end %+v, before %+v", c, counts)
		}
	})
	return st, counts
}

func TestKnock(t *testing.T) {
	tcp := every(time.Second)
	asks, hurried := tcp, tcp
	asks.Send = "PING"
	hurried.Timeout = leastForKnock - 1
	for _, c := range []struct {
		name        string
		outcome     syn.Outcome
		fault       error
		health      lb.Health
		connections error // what they come to
		want        State
		err         string
		syns, conns int // at least 28 of these, or none
	}{
		{"a SYN is enough", syn.Open, nil, tcp, errBroken, Up, "", 1, 0},
		{"refused", syn.Refused, nil, tcp, nil, Down, "connect: connection refused", 1, 0},
		{"silence is asked by a connection", syn.Silent, nil, tcp, errBroken, Down, "connect: broken", 1, 1},
		{"no SYNs on this host", syn.Open, errors.New("no CAP_NET_RAW"), tcp, nil, Up, "", 0, 1},
		{"a SYN is not enough", syn.Open, nil, asks, nil, Up, "", 0, 1},
		{"little time", syn.Open, nil, hurried, nil, Up, "", 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, f := &knocker{outcome: c.outcome, fault: c.fault}, &fake{err: c.connections}
			st, counts := knocking(t, k, f, c.health)
			text := ""
			if st.Err != nil {
				text = st.Err.Error()
			}
			if st.State != c.want || text != c.err || counts.Checks < 28 {
				t.Errorf("%s with %q after %d checks, want %s with %q", st.State, text, counts.Checks, c.want, c.err)
			}
			for name, n := range map[string][2]int{"SYNs": {k.sent, c.syns}, "connections": {f.probes(), c.conns}} {
				if (n[0] >= 28) != (n[1] > 0) || n[0] > 0 && n[1] == 0 {
					t.Errorf("%d %s, want %d a second", n[0], name, n[1])
				}
			}
		})
	}
}

// Where connections are accepted and SYNs get no answer, a probe costs both
// three times a minute.
func TestKnocksThatHelpNothing(t *testing.T) {
	k, f := &knocker{outcome: syn.Silent}, &fake{}
	st, _ := knocking(t, k, f, every(time.Second))
	if st.State != Up || k.sent != knockMisses || f.probes() < 28 {
		t.Errorf("%s after %d SYNs and %d connections", st.State, k.sent, f.probes())
	}
	if st.Took > syn.Patience {
		t.Errorf("the last probe took %s", st.Took)
	}
}
