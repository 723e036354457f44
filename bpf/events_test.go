package bpf_test

import (
	std "context"
	"net/netip"
	"testing"
	"time"

	"weir/loader/lb"
)

// listen returns the events, those of marked packets left out, as soon as the
// program sends any.
func (l *lab) listen(t *testing.T, mark frame) <-chan lb.Event {
	t.Helper()
	ctx, cancel := std.WithCancel(t.Context())
	all, out, failed := make(chan lb.Event), make(chan lb.Event, 16), make(chan error, 1)
	go func() { failed <- l.Events(ctx, 1, all) }()
	t.Cleanup(func() {
		cancel()
		if err := <-failed; err != nil {
			t.Error(err)
		}
	})
	for heard := false; !heard; {
		l.mustRun(t, mark.bytes())
		select {
		case <-all:
			heard = true
		case err := <-failed:
			t.Fatal("no events:", err)
		case <-time.After(time.Millisecond):
		}
	}
	go func() {
		for {
			select {
			case e := <-all:
				if e.Src != mark.from {
					out <- e
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// A first fragment has ports, which its events say; the others have none.
func TestEventsOfFragments(t *testing.T) {
	for _, f := range []family{ip4, ip6} {
		t.Run(f.name, func(t *testing.T) {
			l := newLab(t)
			l.load(t, append(one(dsr(f.dns, f.a)), one(dsr(f.web, f.a))[0], service{vip: f.web2, forward: lb.DSR})...)
			events := l.listen(t, packet(tcp, f.other, at(f.web)).carrying(syn).ttl(0))
			datagram, segment := packet(udp, f.client, at(f.dns)), packet(tcp, f.client, at(f.web)).carrying(syn)
			unserved := packet(tcp, f.client, at(f.web2)).carrying(syn)
			portless := func(a netip.Addr) netip.AddrPort { return netip.AddrPortFrom(a, 0) }
			for _, c := range []struct {
				name         string
				in           frame
				kind, reason string
				proto        lb.Proto
				src, dst     netip.AddrPort
			}{
				{"a datagram's first", datagram.first(1), "flow-new", "", lb.UDP, f.client, at(f.dns)},
				{"a segment's first", segment.first(2), "flow-new", "", lb.TCP, f.client, at(f.web)},
				{"a first one without backend", unserved.first(3), "drop", "no_backend", lb.TCP, f.client, at(f.web2)},
				{"one without its first", datagram.later(4, 800, false), "drop", "fragment", lb.UDP, portless(f.client.Addr()), portless(f.dns.Addr)},
				{"a whole packet", unserved, "drop", "no_backend", lb.TCP, f.client, at(f.web2)},
			} {
				l.mustRun(t, c.in.bytes())
				select {
				case e := <-events:
					if e.Kind != c.kind || e.Reason != c.reason || e.Proto != c.proto.String() || e.Src != c.src || e.Dst != c.dst {
						t.Errorf("%s: %s %s %s %s -> %s, want %s %s %s %s -> %s", c.name,
							e.Kind, e.Reason, e.Proto, e.Src, e.Dst, c.kind, c.reason, c.proto, c.src, c.dst)
					}
				case <-time.After(5 * time.Second):
					t.Fatalf("%s: no event", c.name)
				}
			}
		})
	}
}
