package bpf_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"weir/loader/lb"
)

// table is a named list of cases.
type table struct {
	name  string
	cases []packetCase
}

func tables() []table {
	var out []table
	for _, f := range []family{ip4, ip6} {
		out = append(out,
			table{f.name + " to DSR", append(requestCases(f, dsr), flowCases(f, dsr)...)},
			table{f.name + " to NAT", append(requestCases(f, nat), flowCases(f, nat)...)},
			table{f.name + " to SNAT", append(requestCases(f, snat), flowCases(f, snat)...)},
			table{f.name + " TTL", ttlCases(f)},
			table{f.name + " services", serviceCases(f)},
			table{f.name + " idle", idleCases(f)},
			table{f.name + " changes", changeCases(f)},
			table{f.name + " replies", replyCases(f)},
			table{f.name + " shared reals", sharedCases(f)},
			table{f.name + " protocols", protocolCases(f)},
			table{f.name + " echo", echoCases(f)},
			table{f.name + " errors to DSR", append(errorCases(f, dsr), cutErrorCases(f, dsr)...)},
			table{f.name + " errors to NAT", append(errorCases(f, nat), cutErrorCases(f, nat)...)},
			table{f.name + " errors to NAT of any port", errorCases(f, anyPort)},
			table{f.name + " errors to SNAT", snatErrorCases(f)},
			table{f.name + " lies", lyingCases(f)},
			table{f.name + " loose", looseCases(f)},
			table{f.name + " checksums", checksumCases(f)},
			table{f.name + " fragments to DSR", fragmentCases(f, dsr)},
			table{f.name + " fragments to NAT", append(fragmentCases(f, nat), fragmentNATCases(f)...)},
			table{f.name + " fragments to SNAT", fragmentCases(f, snat)},
		)
	}
	for _, p := range pairings {
		for _, mode := range []func(lb.VIP, netip.Addr) target{p.ipip, p.gue} {
			name := fmt.Sprintf("%s in %s by %s", p.inner.name, p.outer.name, mode(p.inner.web, p.inner.a).forward)
			cases := slices.Concat(requestCases(p.inner, mode), flowCases(p.inner, mode), tunnelCases(p.inner, mode), tooBigCases(p.inner, mode),
				errorCases(p.inner, mode), cutErrorCases(p.inner, mode), fragmentCases(p.inner, mode), fragmentTunnelCases(p.inner, mode))
			out = append(out, table{name, cases})
		}
	}
	return append(out,
		table{"IPv6 fragment headers", fragment6Cases()},
		table{"Ethernet", ethernetCases()},
		table{"IPv4 headers to DSR", header4Cases(dsr)},
		table{"IPv4 headers to NAT", header4Cases(nat)},
		table{"IPv6 headers to DSR", header6Cases(dsr)},
		table{"IPv6 headers to NAT", header6Cases(nat)},
	)
}

func TestPackets(t *testing.T) {
	l := newLab(t)
	n := 0
	for _, table := range tables() {
		t.Run(table.name, func(t *testing.T) {
			for _, c := range table.cases {
				t.Run(c.name, func(t *testing.T) { l.runCase(t, c) })
			}
		})
		n += len(table.cases)
	}
	t.Logf("%d cases", n)
}

// Programs without a NAT service are loaded without that code.
func TestPacketsWithoutNAT(t *testing.T) {
	l := newLab(t)
	for _, f := range []family{ip4, ip6} {
		for _, c := range append(requestCases(f, dsr), flowCases(f, dsr)...) {
			t.Run(f.name+" "+c.name, func(t *testing.T) { l.runCase(t, c) })
		}
	}
}
