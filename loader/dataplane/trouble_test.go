package dataplane

import (
	"net/netip"
	"slices"
	"testing"

	"weir/bpf"
	"weir/loader/lb"
)

// Flows of the last seconds say which TCP backends to look at.
func TestTroubledBackends(t *testing.T) {
	d := openTest(t, Options{Config: testConfig(t)})
	st := stateOf(t, "192.0.2.1:80/tcp", lb.DSR, lb.RoundRobin, "10.0.0.1:80")
	if err := d.Apply(st); err != nil {
		t.Fatal(err)
	}
	const id = 1
	now := d.clock.now()
	word := func(slot, state, age uint32) uint64 {
		return uint64(slot+1)<<flowTagShift | id<<flowIDShift | uint64((now-age)&flowTimeMask)<<flowTimeShift | uint64(state)
	}
	const (
		embryonic   = uint32(bpf.WeirFlowStateFLOW_EMBRYONIC)
		established = uint32(bpf.WeirFlowStateFLOW_ESTABLISHED)
		closed      = uint32(bpf.WeirFlowStateFLOW_CLOSED)
	)
	type flows struct{ state, age, n uint32 }
	for _, c := range []struct {
		name              string
		flows             []flows
		unanswered, reset uint64 // none: not troubled
	}{
		{"nothing", nil, 0, 0},
		{"SYNs of this moment", []flows{{embryonic, 0, 8}}, 0, 0},
		{"SYNs without an answer", []flows{{embryonic, 1, 3}, {embryonic, 2, 1}}, 4, 0},
		{"two are few", []flows{{embryonic, 1, 2}}, 0, 0},
		{"old ones were told before", []flows{{embryonic, 3, 8}}, 0, 0},
		{"resets", []flows{{closed, 0, 3}}, 0, 3},
		{"resets some time ago", []flows{{closed, 2, 8}}, 0, 0},
		{"few among many", []flows{{embryonic, 1, 3}, {established, 0, 20}}, 0, 0},
		{"a fifth", []flows{{embryonic, 1, 2}, {closed, 1, 2}, {established, 0, 16}}, 2, 2},
	} {
		p := pass{mem: &d.mem, clock: d.clock, idle: d.idle}
		for i := range d.mem.flows {
			d.mem.flows[i].Word = [flowSlots]uint64{}
		}
		slot := uint32(0)
		for _, f := range c.flows {
			for range f.n {
				d.mem.flows[slot/flowSlots].Word[slot%flowSlots] = word(slot, f.state, f.age)
				slot++
			}
		}
		var want []lb.Troubled
		if c.unanswered+c.reset > 0 {
			want = []lb.Troubled{{VIP: st.Services[0].Service.VIP, Endpoint: netip.MustParseAddrPort("10.0.0.1:80"), Unanswered: c.unanswered, Reset: c.reset}}
		}
		if got := d.troubled(p.scan()); !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, want)
		}
	}
}
