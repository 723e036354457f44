package config

import (
	"fmt"
	"strings"
	"testing"

	"weir/loader/lb"
)

// many is a file of services that share pools of equal backends: service i
// uses pool i modulo pools.
func many(limits string, services, pools, backends int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "interfaces: [eth0]\nlimits: {%s}\npools:\n", limits)
	for i := range pools {
		fmt.Fprintf(&b, "- name: p%d\n  backends:\n", i)
		for j := range backends {
			fmt.Fprintf(&b, "  - {address: 10.%d.%d.%d}\n", j>>16, j>>8&255, j&255)
		}
	}
	b.WriteString("services:\n")
	for i := range services {
		fmt.Fprintf(&b, "- {name: s%d, vip: \"192.0.2.%d:%d\", forward: dsr, pool: p%d}\n", i, 1+i%250, 1+i/250, i%pools)
	}
	return []byte(b.String())
}

func TestLimitsFitTheConfiguration(t *testing.T) {
	const flows, sources = 1_000_000, 65_536
	for _, c := range []struct {
		name                      string
		limits                    string
		services, pools, backends int
		fresh, least              lb.Limits
	}{
		{"little", "", 1, 1, 2,
			lb.Limits{Services: 1024, Backends: 4096, Flows: flows, TableEntries: 1 << 20, Sources: sources},
			lb.Limits{Services: 1, Backends: 2, Flows: flows, TableEntries: 2 * (1021 + 1 + 2 + 1), Sources: sources}},
		{"half of the usual", "", 512, 1, 4,
			lb.Limits{Services: 1024, Backends: 4096, Flows: flows, TableEntries: 1 << 20, Sources: sources},
			lb.Limits{Services: 512, Backends: 2048, Flows: flows, TableEntries: 2 * (1021 + 1 + 512*5), Sources: sources}},
		{"more than half", "", 513, 1, 4,
			lb.Limits{Services: 2048, Backends: 8192, Flows: flows, TableEntries: 1 << 20, Sources: sources},
			lb.Limits{Services: 513, Backends: 2052, Flows: flows, TableEntries: 2 * (1021 + 1 + 513*5), Sources: sources}},
		{"many pools", "", 600, 600, 11,
			lb.Limits{Services: 2048, Backends: 1 << 14, Flows: flows, TableEntries: 1 << 22, Sources: sources},
			lb.Limits{Services: 600, Backends: 6600, Flows: flows, TableEntries: 2 * 600 * (2039 + 1 + 11 + 1), Sources: sources}},
		{"up to the largest", "", 400, 1, 655,
			lb.Limits{Services: 1024, Backends: lb.MaxBackends, Flows: flows, TableEntries: 1 << 20, Sources: sources},
			lb.Limits{Services: 400, Backends: 262000, Flows: flows, TableEntries: 2 * (65537 + 1 + 400*656), Sources: sources}},
		{"named", "services: 700, flows: 2048, table_entries: 3000000", 600, 600, 11,
			lb.Limits{Services: 700, Backends: 1 << 14, Flows: 2048, TableEntries: 3000000, Sources: sources},
			lb.Limits{Services: 700, Backends: 6600, Flows: 2048, TableEntries: 3000000, Sources: sources}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse("f", many(c.limits, c.services, c.pools, c.backends))
			if err != nil {
				t.Fatal(err)
			}
			if got.Limits != c.fresh || got.Least != c.least {
				t.Errorf("limits %+v, at least %+v; want %+v, at least %+v", got.Limits, got.Least, c.fresh, c.least)
			}
		})
	}
}

func TestMoreThanLimitsCanBe(t *testing.T) {
	_, err := Parse("f", many("", 401, 1, 655))
	want := "f:661: services: 262655 backends (counted once per service that uses them) are over limits.backends (262143)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
