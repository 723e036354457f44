package nexthop

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// debounce is how long a change waits for others before it is announced.
	debounce = 20 * time.Millisecond

	// recheck is how often every route is read again: a path MTU learnt by
	// ICMP expires without an event.
	recheck = 5 * time.Minute
)

// Run follows the kernel until ctx ends, which is no error. Without it every
// Resolve reads everything anew and nothing is announced.
func (r *Resolver) Run(ctx context.Context) error {
	r.setWatching(true)
	defer r.setWatching(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() { done <- r.read(changed) }()
	r.serve(ctx, changed, done)
	r.kernel.events.Close() // ends read
	err := <-done
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (r *Resolver) setWatching(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watching = on
}

// serve announces changes and asks for neighbours until ctx or read ends.
func (r *Resolver) serve(ctx context.Context, changed <-chan struct{}, done chan error) {
	second := time.NewTicker(askEvery)
	defer second.Stop()
	everything := time.NewTicker(recheck)
	defer everything.Stop()
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-done:
			done <- err
			return
		case <-changed:
			if quiet == nil {
				quiet = time.After(debounce)
			}
		case <-quiet:
			quiet = nil
			notify(r.changes)
		case now := <-second.C:
			r.askAgain(now)
		case <-everything.C:
			r.lost()
			notify(r.changes)
		}
	}
}

func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// read applies events until the socket is closed.
func (r *Resolver) read(changed chan<- struct{}) error {
	for {
		msgs, from, err := r.kernel.events.Receive()
		switch {
		case errors.Is(err, unix.ENOBUFS):
			// The socket stays subscribed; only events are missing.
			r.log.Warn("network events were lost, reading everything again")
			r.lost()
			notify(changed)
			continue
		case err != nil:
			return fmt.Errorf("receive network events: %w", err)
		case from.Pid != nl.PidKernel:
			continue
		}
		if r.apply(msgs) {
			notify(changed)
		}
	}
}

func (r *Resolver) lost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
}

// apply takes events over and reports whether a next hop may differ now.
func (r *Resolver) apply(msgs []syscall.NetlinkMessage) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := false
	for i := range msgs {
		if r.applyOne(&msgs[i]) {
			changed = true
		}
	}
	return changed
}

func (r *Resolver) applyOne(m *syscall.NetlinkMessage) bool {
	switch m.Header.Type {
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return r.applyNeigh(m)
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return r.applyLink(m)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return r.applyRoute(m)
	case unix.RTM_DELADDR, unix.RTM_NEWRULE, unix.RTM_DELRULE, unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		// Routes that go with these are removed without an event.
		return r.routes.outdateAll()
	}
	return false
}

func (r *Resolver) applyNeigh(m *syscall.NetlinkMessage) bool {
	msg, err := netlink.NeighDeserialize(m.Data)
	if err != nil {
		return r.unreadable("neighbour", err)
	}
	h, got, ok := neighbourOf(msg)
	if !ok {
		return false
	}
	if m.Header.Type == unix.RTM_DELNEIGH {
		got = neighbour{}
	}
	n := r.neighs.get(h)
	changed := n.set(got.mac, got.state)
	n.release()
	return changed && n.used
}

// applyLink compares what a link was and is. An address on a link that comes
// up is announced as a route, but a route over several paths may use the link
// again without an event; those by a link that goes down vanish without one.
func (r *Resolver) applyLink(m *syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofIfInfomsg || m.Data[0] != unix.AF_UNSPEC {
		return false // a bridge port
	}
	msg, err := netlink.LinkDeserialize((*unix.NlMsghdr)(&m.Header), m.Data)
	if err != nil {
		return r.unreadable("link", err)
	}
	index, is := msg.Attrs().Index, linkOf(msg)
	was, known := r.links[index]
	if m.Header.Type == unix.RTM_DELLINK {
		delete(r.links, index)
		return r.routes.outdateIface(index) || was.vlan.tags()
	}
	r.links[index] = is
	return r.outdateLink(index, was, is, known) || is.vlan != was.vlan
}

// outdateLink marks the routes that a link's change may concern and reports
// whether there are any.
func (r *Resolver) outdateLink(index int, was, is link, known bool) bool {
	switch {
	case known && is == was:
		return false
	case known && is.up && !was.up:
		return r.routes.outdateAll()
	case known && !is.up && was.up:
		return r.routes.outdateIface(index)
	}
	return r.routes.leaveBy(index)
}

// applyRoute outdates the addresses inside the route's prefix.
func (r *Resolver) applyRoute(m *syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofRtMsg {
		return false
	}
	msg := nl.DeserializeRtMsg(m.Data)
	attrs, err := nl.ParseRouteAttr(m.Data[unix.SizeofRtMsg:])
	if err != nil {
		return r.unreadable("route", err)
	}
	dst := netip.IPv4Unspecified()
	if msg.Family == unix.AF_INET6 {
		dst = netip.IPv6Unspecified()
	}
	for _, a := range attrs {
		if a.Attr.Type == unix.RTA_DST {
			dst, _ = netip.AddrFromSlice(a.Value)
		}
	}
	return r.routes.outdate(netip.PrefixFrom(dst, int(msg.Dst_len)))
}

// unreadable treats an event that cannot be read as one that was lost.
func (r *Resolver) unreadable(what string, err error) bool {
	r.log.Warn("cannot read a network event", "about", what, "error", err)
	r.forget()
	return true
}

// askAgain asks for the neighbours whose turn it is.
func (r *Resolver) askAgain(now time.Time) {
	r.mu.Lock()
	r.neighs.prune()
	due := r.neighs.due(now, r.revalidate)
	r.mu.Unlock()
	for _, h := range due {
		r.ask(h)
	}
}

func (r *Resolver) ask(h hop) {
	err := r.kernel.ask(h)
	if err == nil {
		return
	}
	problem := err.Error()
	if errors.Is(err, unix.ENOBUFS) {
		problem = "the kernel's neighbour table is full, see sysctl net.ipv4.neigh.default.gc_thresh3 (or ipv6)"
	}
	r.log.Debug("cannot ask for neighbour", "neighbour", h.addr, "interface", h.iface, "error", problem)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.neighs.get(h).problem = problem
}
