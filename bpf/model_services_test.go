package bpf_test

import (
	"fmt"
	"net/netip"

	"weir/loader/lb"
	algorithm "weir/loader/table"
)

// numbered is a backend's address in a family by its last byte.
func numbered(f family, n int) netip.Addr {
	b := f.a.AsSlice()
	b[len(b)-1] = byte(n)
	a, _ := netip.AddrFromSlice(b)
	return a
}

// nthVIP is a VIP of its own for each service of a kind.
func nthVIP(f family, n int, p uint16, proto lb.Proto) lb.VIP {
	b := f.web.Addr.AsSlice()
	b[len(b)-1] = byte(n)
	a, _ := netip.AddrFromSlice(b)
	return lb.VIP{Addr: a, Port: p, Proto: proto}
}

// pool is n backends from a number on.
func pool(f family, first, n int, p uint16) (out []netip.AddrPort) {
	for i := range n {
		out = append(out, port(numbered(f, first+i), p))
	}
	return out
}

// plainServices need no translation.
func plainServices() (out []service) {
	for i, f := range []family{ip4, ip6} {
		other := []family{ip6, ip4}[i]
		out = append(out,
			service{vip: nthVIP(f, 20, 80, lb.TCP), forward: lb.DSR, backends: append(pool(f, 1, 3, 0), port(f.away, 0))},
			service{vip: nthVIP(f, 20, 53, lb.UDP), forward: lb.DSR, backends: pool(f, 1, 3, 0), algo: lb.Maglev, table: []uint32{0, 1, 2, 1, 0}},
			service{vip: nthVIP(f, 20, 443, lb.TCP), forward: lb.L7},
			service{vip: nthVIP(f, 21, 0, lb.TCP), forward: lb.IPIP, backends: pool(f, 4, 4, 0)},
			service{vip: nthVIP(f, 21, 0, lb.UDP), forward: lb.GUE, backends: pool(other, 4, 4, 0)},
			service{vip: nthVIP(f, 22, 80, lb.TCP), forward: lb.GUE, backends: append(pool(f, 5, 3, 0), port(f.away, 0))},
			service{vip: nthVIP(f, 22, 81, lb.TCP), forward: lb.IPIP, backends: append(pool(other, 8, 3, 0), port(other.unknown, 0))},
			service{vip: nthVIP(f, 22, 82, lb.TCP), forward: lb.DSR, table: []uint32{}},
			service{vip: nthVIP(f, 23, 80, lb.TCP), forward: lb.DSR, algo: lb.LeastConn, backends: pool(f, 30, 5, 0), table: weights(5, 1, 3)},
			service{vip: nthVIP(f, 23, 53, lb.UDP), forward: lb.IPIP, algo: lb.LeastConn, backends: pool(f, 40, 40, 0), table: weights(40, 2, 1)},
		)
	}
	return out
}

// allServices have every way to forward.
func allServices() []service {
	out := plainServices()
	for _, f := range []family{ip4, ip6} {
		out = append(out,
			service{vip: f.web, forward: lb.NAT, backends: append(pool(f, 1, 3, 8080), port(f.away, 8080))},
			service{vip: f.dns, forward: lb.NAT, backends: pool(f, 1, 2, 8053), algo: lb.Maglev, table: []uint32{0, 1, 1}},
			service{vip: f.web2, forward: lb.NAT, backends: pool(f, 2, 2, 8080)}, // shares a real
			service{vip: f.all, forward: lb.NAT, backends: pool(f, 90, 2, 0)},
			service{vip: f.allUDP, forward: lb.NAT, backends: pool(f, 90, 3, 0), algo: lb.LeastConn, table: weights(3, 1, 2)},
			service{vip: nthVIP(f, 4, 0, lb.UDP), forward: lb.NAT, backends: pool(f, 91, 2, 0)}, // shares too
			service{vip: nthVIP(f, 5, 80, lb.TCP), forward: lb.SNAT, backends: append(pool(f, 60, 3, 8080), port(f.unknown, 80))},
			service{vip: nthVIP(f, 5, 53, lb.UDP), forward: lb.SNAT, backends: pool(f, 60, 3, 53), algo: lb.LeastConn, table: weights(3, 1, 1)},
			service{vip: nthVIP(f, 6, 0, lb.TCP), forward: lb.SNAT, backends: pool(f, 64, 2, 0), algo: lb.Maglev, table: []uint32{0, 1, 0}},
			service{vip: nthVIP(f, 6, 80, lb.TCP), forward: lb.DSR, backends: pool(f, 64, 2, 0)},
		)
	}
	return out
}

// weights is the table of least connection for n backends.
func weights(n int, of ...lb.EffectiveWeight) []uint32 {
	var all []lb.EffectiveWeight
	for i := range n {
		all = append(all, of[i%len(of)]*lb.EffectiveUnit)
	}
	out, err := algorithm.LeastConn(all)
	if err != nil {
		panic(fmt.Sprint("table of least_conn: ", err))
	}
	return out
}
