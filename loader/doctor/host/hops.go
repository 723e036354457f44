package host

import (
	"context"
	"net/netip"
	"time"

	"weir/loader/doctor"
	"weir/loader/nexthop"
)

// How long neighbours get to answer, and how often they are looked at: the
// kernel asks three times, a second apart, and the first is asked for at once.
const (
	neighbourWait = 2500 * time.Millisecond
	neighbourPoll = 50 * time.Millisecond
)

// Hops asks for next hops until all are known or the wait is over.
func (h *Host) Hops(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]doctor.Hop, error) {
	r, err := nexthop.New(h.log)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(ctx, neighbourWait)
	defer cancel()
	poll := time.NewTicker(neighbourPoll)
	defer poll.Stop()
	for {
		all, waiting, err := resolve(r, addrs)
		if err != nil || !waiting {
			return all, err
		}
		select {
		case <-ctx.Done():
			return all, nil
		case <-poll.C:
		}
	}
}

func resolve(r *nexthop.Resolver, addrs []netip.Addr) (all map[netip.Addr]doctor.Hop, waiting bool, err error) {
	found, err := r.Resolve(addrs)
	if err != nil {
		return nil, false, err
	}
	all = make(map[netip.Addr]doctor.Hop, len(found))
	for a, hop := range found {
		all[a] = doctor.Hop{NextHop: hop, Reason: r.Reason(a)}
		waiting = waiting || !hop.Resolved()
	}
	return all, waiting, nil
}
