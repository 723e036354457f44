package nexthop

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// askEvery is the shortest time between two requests for one neighbour.
const askEvery = time.Second

// maxAsk is the most neighbours asked for at once; the rest wait for the next
// tick. A request costs some microseconds.
const maxAsk = 4096

// usable are the states in which the kernel itself would send to a neighbour.
const usable = unix.NUD_PERMANENT | unix.NUD_NOARP | unix.NUD_REACHABLE |
	unix.NUD_STALE | unix.NUD_DELAY | unix.NUD_PROBE

// neighbour is the MAC address of a hop. A used one keeps the last good
// address when the kernel's entry fails or is collected: the kernel collects
// entries that its own stack does not use, and ours bypasses that stack.
type neighbour struct {
	mac     [6]byte
	state   uint16 // NUD_* of the kernel's entry; 0 if it has none
	used    bool   // a watched route leads here
	asked   time.Time
	problem string // why the kernel refused to look for it
}

func (n *neighbour) known() bool { return n.mac != [6]byte{} }

func (n *neighbour) alive() bool { return n.state&usable != 0 && n.known() }

// problemWith says why the hop has no MAC address. n may be nil.
func (n *neighbour) problemWith(a netip.Addr, iface string) string {
	if n != nil && n.problem != "" {
		return fmt.Sprintf("neighbour %s on %s: %s", a, iface, n.problem)
	}
	return fmt.Sprintf("neighbour %s on %s has not answered", a, iface)
}

// set takes over what the kernel says now and reports whether the MAC address
// changed.
func (n *neighbour) set(mac [6]byte, state uint16) bool {
	n.state = state
	if state&usable == 0 || mac == [6]byte{} {
		return false
	}
	changed := n.mac != mac
	n.mac, n.problem = mac, ""
	return changed
}

// release forgets an address that is kept though no route needs it.
func (n *neighbour) release() {
	if !n.used && !n.alive() {
		n.mac = [6]byte{}
	}
}

// takeTurn reports whether the kernel shall be asked for it now, and counts
// that as done: each second while it is missing, and while it is stale after
// the time given, so that a changed MAC is noticed. Permanent entries are
// left alone: a request would take their permanence away.
func (n *neighbour) takeTurn(now time.Time, revalidate time.Duration) bool {
	wait := askEvery
	switch {
	case !n.alive():
	case n.state == unix.NUD_STALE && n.used:
		wait = revalidate
	default:
		return false
	}
	if now.Sub(n.asked) < wait {
		return false
	}
	n.asked = now
	return true
}

// neighTable holds the kernel's neighbours and those of watched routes.
type neighTable map[hop]*neighbour

// get returns the neighbour of a hop, new if there is none.
func (t neighTable) get(h hop) *neighbour {
	n, ok := t[h]
	if !ok {
		n = &neighbour{}
		t[h] = n
	}
	return n
}

// replace takes over a dump of the kernel's table.
func (t neighTable) replace(dump map[hop]neighbour) {
	for h, n := range t {
		if _, ok := dump[h]; !ok {
			n.state = 0
		}
	}
	for h, d := range dump {
		t.get(h).set(d.mac, d.state)
	}
	t.prune()
}

// use marks exactly these hops as used and forgets the addresses kept for
// others.
func (t neighTable) use(hops map[hop]struct{}) {
	for h, n := range t {
		_, n.used = hops[h]
		n.release()
	}
	for h := range hops {
		t.get(h).used = true
	}
	t.prune()
}

// prune removes what neither the kernel nor a watched route knows, once it may
// be asked for again.
func (t neighTable) prune() {
	for h, n := range t {
		if !n.used && !n.alive() && time.Since(n.asked) >= askEvery {
			delete(t, h)
		}
	}
}

// due returns up to maxAsk used hops to ask the kernel for.
func (t neighTable) due(now time.Time, revalidate time.Duration) []hop {
	var out []hop
	for h, n := range t {
		if len(out) == maxAsk {
			break
		}
		if n.used && n.takeTurn(now, revalidate) {
			out = append(out, h)
		}
	}
	return out
}

// maxClients is the most clients probed in one second, so that a flood of
// forged addresses costs a bounded time.
const maxClients = 1024

// window lets each address pass once, and maxClients in all, in each second.
type window struct {
	began time.Time
	seen  map[netip.Addr]struct{}
}

func (w *window) allow(a netip.Addr, now time.Time) bool {
	if now.Sub(w.began) >= time.Second {
		w.began, w.seen = now, map[netip.Addr]struct{}{}
	}
	if _, again := w.seen[a]; again || len(w.seen) == maxClients {
		return false
	}
	w.seen[a] = struct{}{}
	return true
}
