package dataplane

import (
	"weir/bpf"
	"weir/loader/lb"
)

// A backend is in trouble if of its flows so many at least, and one in so many,
// met it lately. Few are clients that vanished.
const (
	leastTrouble = 3
	troublePart  = 5
	troubleAges  = 2 // units of the flow clock: what is older was told before
)

// trouble is what flows of the last seconds say of backends, by id. It is a
// second opinion: a SYN flood looks the same.
type trouble struct {
	unanswered []uint32 // a SYN, and no ACK after: the client got no answer
	reset      []uint32 // ended by the backend's RST
}

func newTrouble(backends int) trouble {
	return trouble{make([]uint32, backends), make([]uint32, backends)}
}

// note looks at a flow word's state and age. In its first unit of time a SYN
// may be answered yet.
func (t *trouble) note(id, state, age uint32) {
	switch {
	case state == uint32(bpf.WeirFlowStateFLOW_EMBRYONIC) && age >= 1 && age <= troubleAges:
		t.unanswered[id]++
	case state == uint32(bpf.WeirFlowStateFLOW_CLOSED) && age <= 1:
		t.reset[id]++
	}
}

// troubled are the TCP backends that flows met trouble with; of UDP, one packet
// may be all that there is.
func (d *DataPlane) troubled(f found) []lb.Troubled {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []lb.Troubled
	for id, b := range d.registry.backends {
		if int(id) >= len(f.live) || b.retired || b.service.vip.Proto != lb.TCP {
			continue
		}
		unanswered, reset := uint64(f.trouble.unanswered[id]), uint64(f.trouble.reset[id])
		if met := unanswered + reset; met >= leastTrouble && met*troublePart >= f.live[id]+reset {
			all = append(all, lb.Troubled{VIP: b.service.vip, Endpoint: b.key.endpoint, Unanswered: unanswered, Reset: reset})
		}
	}
	return all
}
