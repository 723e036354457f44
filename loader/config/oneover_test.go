package config

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"weir/loader/lb"
)

// repeated joins n items that each have a number.
func repeated(n int, item func(i int) string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = item(i)
	}
	return strings.Join(all, ", ")
}

func number(format string) func(int) string {
	return func(n int) string { return head + fmt.Sprintf(format, n) }
}

// Each limit is taken, and a file with one more is refused whole, by a line that
// has the number.
func TestOneOverEachLimit(t *testing.T) {
	on := func(keys string) func(int) string {
		return func(n int) string { return onWebWith(fmt.Sprintf(keys, n)) }
	}
	for _, c := range []struct {
		name  string
		limit int
		file  func(n int) string
		want  string // %d is the number
	}{
		{"services", maxServices, number("limits: {services: %d}\n"), "limits.services: %d is not in"},
		{"backends", lb.MaxBackends, number("limits: {backends: %d}\n"), "limits.backends: %d is not in"},
		{"flows", maxFlows, number("limits: {flows: %d}\n"), "limits.flows: %d is not in"},
		{"table entries", maxTableEntries, number("limits: {table_entries: %d}\n"), "limits.table_entries: %d is not in"},
		{"sources", maxSources, number("limits: {sources: %d}\n"), "limits.sources: %d is not in"},
		{"event sample", math.MaxUint32, number("events: {sample: %d}\n"), "events.sample: %d is not in"},
		{"GUE port", math.MaxUint16, number("tunnel: {gue_port: %d}\n"), "tunnel.gue_port: %d is not in"},
		{"weight", int(lb.MaxWeight), number("pools: [{name: p, backends: [{address: 10.0.0.1, weight: %d}]}]\n"), "weight: %d is not in"},
		{"server id", lb.MaxServerID, func(n int) string {
			id := strings.Repeat("0a", n)
			return head + fmt.Sprintf("pools: [{name: p, quic: {config_ids: [0], server_id_length: %d}, backends: [{address: 10.0.0.1, server_id: %q}]}]\n", n, id)
		}, "server_id_length: %d is not in"},
		{"QUIC configuration", lb.MaxQUICConfig,
			number("pools: [{name: p, quic: {config_ids: [%d], server_id_length: 1}, backends: [{address: 10.0.0.1, server_id: \"0a\"}]}]\n"), "config_ids[0]: %d is not in"},
		{"snat addresses", lb.MaxSNATSources, func(n int) string {
			return head + "snat: {addresses: [" + repeated(n, func(i int) string { return fmt.Sprintf("10.0.0.%d", i+1) }) + "]}\n"
		}, "snat.addresses: %d addresses are more than there can be"},
		{"backends of a pool", maxPool, func(n int) string {
			return head + "pools: [{name: p, algorithm: rr, backends: [" +
				repeated(n, func(i int) string { return fmt.Sprintf("{address: 10.%d.%d.%d}", i>>16, i>>8&255, i&255) }) + "]}]\n"
		}, "backends: %d backends are more than a pool can have"},
		{"a source's rate", lb.MaxSourceRate, on("new_flows_per_source: {rate: %d}"), "rate: %d is not in"},
		{"a source's burst", lb.MaxSourceBurst, on("new_flows_per_source: {rate: 1000, burst: %d}"), "burst: %d is not in"},
		{"a burst's time", 600, on("new_flows_per_source: {rate: 1, burst: %d}"), "burst: %d new flows at 1 a second take longer"},
		{"new flows", lb.MaxNewFlows, on("max_new_flows: %d"), "max_new_flows: %d is not in"},
		{"mss", lb.MaxMSS, on("mss: %d"), "mss: %d is not in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Parse("f", []byte(c.file(c.limit))); err != nil {
				t.Errorf("the limit itself is refused: %v", err)
			}
			_, err := Parse("f", []byte(c.file(c.limit+1)))
			if want := fmt.Sprintf(c.want, c.limit+1); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}
