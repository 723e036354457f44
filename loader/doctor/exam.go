package doctor

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"

	"weir/loader/lb"
)

// exam is one examination: what was asked of the host once for all checks.
type exam struct {
	Subject
	host   Host
	links  []Link    // the configured interfaces that exist
	absent []Finding // those that do not
	hops   map[netip.Addr]Hop
	pins   Pins
	blind  []Finding
}

func (e *exam) look(ctx context.Context) {
	for _, name := range e.Config.Interfaces {
		l, err := e.host.Link(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			e.absent = append(e.absent, fault(name, "ip link show # then correct `interfaces` in "+e.ConfigFile, "there is no such interface"))
		case err != nil:
			e.blind = append(e.blind, blind(name, err))
		default:
			e.links = append(e.links, l)
		}
	}
	var err error
	if e.hops, err = e.host.Hops(ctx, backendAddrs(*e.Config)); err != nil {
		e.blind = append(e.blind, blind("next hops", err))
	}
	if e.pins, err = e.host.Pins(*e.Config); err != nil {
		e.blind = append(e.blind, blind(e.Config.PinDir, err))
	}
}

// ours are the ids of weir's own programs.
func (e *exam) ours() map[uint32]bool {
	ids := map[uint32]bool{}
	for _, l := range e.pins.Links {
		ids[l.Program] = true
	}
	if e.Daemon != nil {
		for _, a := range e.Daemon.Status.DataPlane.Attachments {
			ids[a.ProgramID] = true
		}
	}
	return ids
}

// backendAddrs lists each address of a used pool once.
func backendAddrs(c lb.Config) []netip.Addr {
	seen := map[netip.Addr]bool{}
	var all []netip.Addr
	for _, p := range usedPools(c) {
		for _, b := range p.Backends {
			if !seen[b.Addr] {
				seen[b.Addr] = true
				all = append(all, b.Addr)
			}
		}
	}
	return all
}

// usedPools are the pools that a service sends to, in the file's order.
func usedPools(c lb.Config) []lb.Pool {
	used := map[string]bool{}
	for _, s := range c.Services {
		used[s.Pool] = true
	}
	var all []lb.Pool
	for _, p := range c.Pools {
		if used[p.Name] {
			all = append(all, p)
		}
	}
	return all
}

// poolsOf gives the pools by name.
func poolsOf(c lb.Config) map[string]lb.Pool {
	all := make(map[string]lb.Pool, len(c.Pools))
	for _, p := range c.Pools {
		all[p.Name] = p
	}
	return all
}

// takesReplies reports whether a mode's replies come back through weir.
func takesReplies(f lb.Forward) bool { return f != lb.L7 && !f.KeepsPacket() }

// replyFamilies tells which families have services whose replies come back.
func replyFamilies(c lb.Config) (v4, v6 bool) {
	for _, s := range c.Services {
		if takesReplies(s.Forward) {
			v4 = v4 || s.VIP.Addr.Is4()
			v6 = v6 || s.VIP.Addr.Is6()
		}
	}
	return v4, v6
}
