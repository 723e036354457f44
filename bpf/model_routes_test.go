package bpf_test

import (
	"net/netip"
	"slices"

	"weir/bpf/model"
)

// route is what the lab's kernel says about the lab's routes and neighbours.
func (w *world) route(q model.Query) model.Hop {
	dst := netip.AddrFrom16(q.Dst).Unmap()
	if dst.Is6() && (dst.IsMulticast() || dst.IsLinkLocalUnicast() || dst.IsLoopback()) {
		return model.Hop{Refusal: model.DropNoRoute} // rt6_need_strict of net/ipv6/route.c
	}
	if q.Ingress == w.lab.ifindex["off0"] {
		return model.Hop{Refusal: model.DropNoForwarding}
	}
	for _, u := range uplinks {
		for _, a := range u.addr {
			if netip.MustParsePrefix(a).Addr() == dst {
				return model.Hop{Refusal: model.DropNoRoute} // our own
			}
		}
	}
	via, mtu := dst, 1500
	for _, r := range worldRoutes {
		if r.dst.Contains(dst) {
			if r.blackhole {
				return model.Hop{Refusal: model.DropNoRoute}
			}
			via, mtu = r.via, r.mtu
		}
	}
	return w.neighbour(via, q.Length > mtu)
}

// neighbour finds the way to an address of a network of ours.
func (w *world) neighbour(a netip.Addr, tooBig bool) model.Hop {
	connected := slices.ContainsFunc(worldNetworks, func(p netip.Prefix) bool { return p.Contains(a) && a != notUnicast(p) })
	switch {
	case !connected:
		return model.Hop{Refusal: model.DropNoRoute}
	case tooBig:
		return model.Hop{Refusal: model.PassTooBig}
	case slices.Contains(worldGateways[0], a):
		return model.Hop{Interface: w.lab.ifindex["in0"], DstMAC: gatewayMAC, SrcMAC: balancerMAC}
	case slices.Contains(worldGateways[1], a):
		return model.Hop{Interface: w.lab.ifindex["out0"], DstMAC: farMAC, SrcMAC: outMAC}
	}
	return model.Hop{Refusal: model.PassNoNeighbour}
}

// notUnicast is the broadcast address of a /24 (RFC 919), and the anycast
// address of routers in IPv6 (RFC 4291, 2.6.1).
func notUnicast(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr()
	if a.Is6() {
		return a
	}
	b := a.As4()
	b[3] = 255
	return netip.AddrFrom4(b)
}

type worldRoute struct {
	dst       netip.Prefix
	via       netip.Addr
	mtu       int
	blackhole bool
}

// What lab_test.go says, parsed once.
var (
	worldRoutes   = parseRoutes()
	worldNetworks = parseNetworks()
	worldGateways = parseGateways()
)

func parseRoutes() (out []worldRoute) {
	for _, r := range routes {
		p := worldRoute{dst: netip.MustParsePrefix(r.dst), mtu: 1500, blackhole: r.kind == rtnBlackhole}
		if r.via != "" {
			p.via = netip.MustParseAddr(r.via)
		}
		if r.mtu != 0 {
			p.mtu = r.mtu
		}
		out = append(out, p)
	}
	return out
}

func parseNetworks() (out []netip.Prefix) {
	for _, u := range uplinks {
		for _, a := range u.addr {
			out = append(out, netip.MustParsePrefix(a))
		}
	}
	return out
}

func parseGateways() (out [2][]netip.Addr) {
	for _, n := range neighbours {
		i := map[string]int{"in0": 0, "out0": 1}[n.dev]
		out[i] = append(out[i], netip.MustParseAddr(n.addr))
	}
	return out
}
