package config

import (
	"fmt"
	"strings"
	"testing"
)

// A file of which a case replaces one part.
const (
	head     = "interfaces: [eth0]\n"
	webPool  = head + "pools:\n- name: web\n  backends:\n  - address: 10.0.0.1:80\n"
	noPort   = head + "pools:\n- name: web\n  backends: [{address: 10.0.0.1}]\n"
	onWeb    = "services:\n- {name: a, vip: 192.0.2.1:80, forward: nat, pool: web}\n"
	keysOf5  = "name, vip, forward, pool, mss, acl, new_flows_per_source, max_new_flows"
	topKeys  = "interfaces, xdp_mode, pin_dir, socket, state_dir, seed, events, limits, timeouts, tunnel, snat, fragments, acl, pools, services, http"
	vipLike  = "; write it like 192.0.2.1:80/tcp or [2001:db8::1]:*/udp"
	endpoint = " is not ADDRESS:PORT or ADDRESS, such as 10.0.0.11:8080 or [2001:db8::11]:8080"
	nameRule = " is not 1 to 63 of the characters A-Z a-z 0-9 . _ -"
)

func pool1(rest string) string { return head + "pools:\n- {name: p, " + rest + "}\n" }

func backend1(address string) string {
	return pool1("backends: [{address: " + address + "}]")
}

func service1(rest string) string { return webPool + "services:\n- {name: a, " + rest + "}\n" }

var faultCases = []struct {
	name string
	file string
	want []string // without "f:"
}{
	// The document.
	{"empty", "", []string{"1: the file is empty; interfaces, pools and services are expected"}},
	{"only a comment", "# nothing\n", []string{"1: the file is empty; interfaces, pools and services are expected"}},
	{"null", "---\n~\n", []string{"1: the file is empty; interfaces, pools and services are expected"}},
	{"two documents", head + "---\n" + head, []string{"2: a second YAML document begins here; a file has one"}},
	{"a list", "- a\n", []string{"1: a list is not a mapping of " + topKeys}},
	{"text", "hello\n", []string{`1: "hello" is not a mapping of ` + topKeys}},
	{"not YAML", head + "pools: [\n", []string{"2: not valid YAML: did not find expected node content"}},
	{"a tab", head + "\tseed: 1\n", []string{"2: not valid YAML: found character that cannot start any token"}},
	{"control character", head + "# \x01\n", []string{"2: not UTF-8 text without control characters"}},
	{"not UTF-8", head + "\nseed: \xff\n", []string{"3: not UTF-8 text without control characters"}},
	{"UTF-16", "\xff\xfea\x00", []string{"1: not UTF-8 text without control characters"}},

	// Keys and types.
	{"unknown key", head + "sed: 1\n", []string{"2: sed: unknown key; allowed are " + topKeys}},
	{"upper case", "Interfaces: [eth0]\n", []string{
		"1: Interfaces: unknown key; allowed are " + topKeys,
		"1: interfaces: is missing; it is a list of at least one network interface"}},
	{"dotted key", head + "limits.flows: 4096\n", []string{"2: limits.flows: unknown key; allowed are " + topKeys}},
	{"nested unknown key", service1("vip: 192.0.2.1:80, forward: nat, pool: web, port: 1"), []string{"7: services[0].port: unknown key; allowed are " + keysOf5}},
	{"number as key", head + "1: x\n", []string{"2: 1: unknown key; allowed are " + topKeys}},
	{"list as key", head + "? [a]\n: x\n", []string{`2: a list: unknown key; allowed are ` + topKeys}},
	{"merge key", head + "<<: {seed: 1}\n", []string{`2: "<<": unknown key; allowed are ` + topKeys}},
	{"duplicate key", head + "seed: 1\nseed: 2\n", []string{"3: seed: is already in line 2"}},
	{"alias", head + "pools:\n- &p {name: p, backends: [{address: 10.0.0.1}]}\n- *p\n", []string{"4: pools[1]: aliases (*p) are not supported; write the value out"}},
	{"no value", head + "pools:\n", []string{"2: pools: has no value; want a list, or leave the key out"}},
	{"number for text", pool1("backends: [{address: 10.0}]"), []string{`3: pools[0].backends[0].address: "10.0" is not text (put it in quotes if it looks like a number)`}},
	{"text for a number", head + "seed: '1'\n", []string{`2: seed: "1" is not a whole number in 0..18446744073709551615`}},
	{"fraction", head + "events: {sample: 1.5}\n", []string{`2: events.sample: "1.5" is not a whole number`}},
	{"bool", head + "seed: true\n", []string{`2: seed: "true" is not a whole number in 0..18446744073709551615`}},
	{"past 64 bits", head + "seed: 18446744073709551616\n", []string{`2: seed: "18446744073709551616" is not a whole number in 0..18446744073709551615`}},
	{"mapping for a list", head + "pools: {a: b}\n", []string{"2: pools: a mapping is not a list"}},
	{"text for a mapping", head + "pools: [web]\n", []string{`2: pools[0]: "web" is not a mapping of name, algorithm, table_size, quic, health, http, weights, resources, slow_start, panic_threshold, agent, backends`}},
	{"custom tag", head + "events: !x {sample: 1}\n", []string{"2: events: a mapping is not a mapping of sample"}},

	// Settings.
	{"no interfaces", "seed: 1\n", []string{"1: interfaces: is missing; it is a list of at least one network interface"}},
	{"empty interfaces", "interfaces: []\n", []string{"1: interfaces: is missing; it is a list of at least one network interface"}},
	{"empty interface", "interfaces: ['']\n", []string{`1: interfaces[0]: "" is not a network interface: 1 to 15 bytes without /, : and blanks`}},
	{"long interface", "interfaces: [abcdefghijklmnop]\n", []string{`1: interfaces[0]: "abcdefghijklmnop" is not a network interface: 1 to 15 bytes without /, : and blanks`}},
	{"interface twice", "interfaces:\n- a\n- b\n- a\n", []string{"4: interfaces[2]: a is already at interfaces[0]"}},
	{"fragments", head + "fragments: dorp\n", []string{`2: fragments: "dorp" is not follow or drop`}},
	{"mode", head + "xdp_mode: Native\n", []string{`2: xdp_mode: "Native" is not auto, native or generic`}},
	{"relative paths", head + "pin_dir: a\nsocket: b\nstate_dir: ''\n", []string{
		`2: pin_dir: "a" is not an absolute path`, `3: socket: "b" is not an absolute path`, `4: state_dir: "" is not an absolute path`}},
	{"long socket", head + "socket: /" + strings.Repeat("s", 107) + "\n", []string{
		`2: socket: "/` + strings.Repeat("s", 79) + `"... has 108 bytes; a socket's path has at most 107`}},
	{"sample", head + "events: {sample: 0}\n", []string{"2: events.sample: 0 is not in 1..4294967295"}},
	{"limits low", head + "limits: {services: 0, backends: -5, flows: 1023, table_entries: 1023}\n", []string{
		"2: limits.services: 0 is not in 1..65535", "2: limits.backends: -5 is not in 1..262143",
		"2: limits.flows: 1023 is not in 1024..67108864", "2: limits.table_entries: 1023 is not in 1024..67108864"}},
	{"limits high", head + "limits:\n  services: 65536\n  backends: 262144\n  flows: 67108865\n  table_entries: 67108865\n", []string{
		"3: limits.services: 65536 is not in 1..65535", "4: limits.backends: 262144 is not in 1..262143",
		"5: limits.flows: 67108865 is not in 1024..67108864", "6: limits.table_entries: 67108865 is not in 1024..67108864"}},
	{"timeouts", head + "timeouts: {embryonic: 4999ms, established: 61m, closing: 30, udp: fast}\n", []string{
		"2: timeouts.embryonic: 4.999s is not in 5s..1h0m0s", "2: timeouts.established: 1h1m0s is not in 5s..1h0m0s",
		`2: timeouts.closing: "30" is not a duration such as 30s or 15m`, `2: timeouts.udp: "fast" is not a duration such as 30s or 15m`}},

	// Pools.
	{"nameless pool", head + "pools:\n- backends: [{address: 10.0.0.1}]\n", []string{"3: pools[0].name: is missing; it is 1 to 63 of the characters A-Z a-z 0-9 . _ -"}},
	{"bad names", head + "pools:\n- {name: 'a b', backends: [{address: 10.0.0.1}]}\n- {name: " + strings.Repeat("x", 64) + ", backends: [{address: 10.0.0.1}]}\n", []string{
		`3: pools[0].name: "a b"` + nameRule, `4: pools[1].name: "` + strings.Repeat("x", 64) + `"` + nameRule}},
	{"pool twice", noPort + "- name: web\n  backends: [{address: 10.0.0.2}]\n", []string{`5: pools[1].name: "web" is already the name of pools[0]`}},
	{"algorithm", pool1("algorithm: Maglev, backends: [{address: 10.0.0.1}]"), []string{`3: pools[0].algorithm: "Maglev" is not resource_based, maglev, round_robin (rr), weighted_round_robin (wrr), least_conn (lc) or random`}},
	{"no backends", head + "pools: [{name: p}]\n", []string{"2: pools[0].backends: is missing; it is a list of at least one backend"}},
	{"empty backends", pool1("backends: []"), []string{"3: pools[0].backends: is missing; it is a list of at least one backend"}},
	{"composite table", pool1("table_size: 65536, backends: [{address: 10.0.0.1}]"), []string{
		"3: pools[0].table_size: 65536 is not a prime such as 251, 4099, 16381, 65537, 655373 or 16777213"}},
	{"large table", pool1("table_size: 16777259, backends: [{address: 10.0.0.1}]"), []string{"3: pools[0].table_size: 16777259 is not in 2..16777215"}},
	{"small table", pool1("table_size: 2, backends: [{address: 10.0.0.1}, {address: 10.0.0.2}, {address: 10.0.0.3}]"), []string{
		"3: pools[0].backends: 3 backends are more than table_size (2)"}},
	{"table of rr", pool1("algorithm: rr, table_size: 7, backends: [{address: 10.0.0.1}]"), []string{
		"3: pools[0].table_size: 7 is for maglev only; the table of round_robin has the size it needs"}},

	// Backends.
	{"no address", pool1("backends: [{weight: 1}]"), []string{"3: pools[0].backends[0].address: is missing; it is ADDRESS:PORT, or ADDRESS to keep the client's port"}},
	{"host name", backend1("web-1:80"), []string{`3: pools[0].backends[0].address: "web-1:80"` + endpoint}},
	{"port 0", backend1("10.0.0.1:0"), []string{`3: pools[0].backends[0].address: "10.0.0.1:0" has port 0; leave the port out to keep the client's port`}},
	{"port 65536", backend1("10.0.0.1:65536"), []string{`3: pools[0].backends[0].address: "10.0.0.1:65536"` + endpoint}},
	{"loopback", backend1("127.0.0.1:80"), []string{`3: pools[0].backends[0].address: "127.0.0.1:80" cannot be a backend: address 127.0.0.1 is not a routable unicast address`}},
	{"zone", backend1("'fe80::1%eth0'"), []string{`3: pools[0].backends[0].address: "fe80::1%eth0" cannot be a backend: address fe80::1%eth0 has a zone`}},
	{"mapped", backend1("'::ffff:10.0.0.1'"), []string{`3: pools[0].backends[0].address: "::ffff:10.0.0.1" cannot be a backend: address ::ffff:10.0.0.1 is IPv4-mapped; write it as 10.0.0.1`}},
	{"backend twice", webPool + "  - address: 10.0.0.1:80\n", []string{`6: pools[0].backends[1].address: "10.0.0.1:80" is already pools[0].backends[0]`}},
	{"IPv6 twice", pool1("backends: [{address: '2001:db8::1'}, {address: '2001:0db8:0::1'}]"), []string{
		`3: pools[0].backends[1].address: "2001:0db8:0::1" is already pools[0].backends[0]`}},
	{"weights", pool1("backends: [{address: 10.0.0.1, weight: -1}, {address: 10.0.0.2, weight: 1001}]"), []string{
		"3: pools[0].backends[0].weight: -1 is not in 0..1000", "3: pools[0].backends[1].weight: 1001 is not in 0..1000"}},

	// Services.
	{"nothing in it", head + "services: [{}]\n", []string{
		"2: services[0].name: is missing; it is 1 to 63 of the characters A-Z a-z 0-9 . _ -",
		"2: services[0].vip: is missing; it is ADDRESS:PORT/PROTO, such as 192.0.2.1:80/tcp",
		"2: services[0].forward: is missing; it is nat, snat, dsr, ipip, gue or l7"}},
	{"service twice", webPool + onWeb + "- {name: a, vip: 192.0.2.1:81, forward: nat, pool: web}\n", []string{`8: services[1].name: "a" is already the name of services[0]`}},
	{"VIP twice", webPool + onWeb + "- {name: b, vip: 192.0.2.1:80/TCP, forward: nat, pool: web}\n", []string{"8: services[1].vip: 192.0.2.1:80/tcp is already the VIP of services[0]"}},
	{"any-port VIP twice", head + "services:\n- {name: a, vip: '192.0.2.1:*/udp', forward: l7}\n- {name: b, vip: '192.0.2.1:*/udp', forward: l7}\n", []string{
		"4: services[1].vip: 192.0.2.1:*/udp is already the VIP of services[0]"}},
	{"bad VIP", service1("vip: 192.0.2.1:80/sctp, forward: l7"), []string{`7: services[0].vip: VIP "192.0.2.1:80/sctp": protocol "sctp" is not tcp or udp` + vipLike}},
	{"multicast VIP", service1("vip: 224.0.0.1:80, forward: l7"), []string{
		`7: services[0].vip: VIP "224.0.0.1:80": address 224.0.0.1 is not a routable unicast address` + vipLike}},
	{"forward", service1("vip: 192.0.2.1:80, forward: ipvs, pool: web"), []string{`7: services[0].forward: "ipvs" is not nat, snat, dsr, ipip, gue or l7`}},
	{"l7 with a pool", service1("vip: 192.0.2.1:80, forward: l7, pool: web"), []string{`7: services[0].pool: "web" must be left out: l7 hands packets to this host`}},
	{"nat without a pool", service1("vip: 192.0.2.1:80, forward: nat"), []string{"7: services[0].pool: is missing; it is the name of a pool, as forward is nat"}},
	{"unknown pool", service1("vip: 192.0.2.1:80, forward: nat, pool: wep"), []string{`7: services[0].pool: there is no pool "wep"`}},
	{"unknown pool beside a fault in another", webPool + "    weight: 2000\n" + "services:\n- {name: a, vip: 192.0.2.1:80, forward: nat, pool: wep}\n", []string{
		"6: pools[0].backends[0].weight: 2000 is not in 0..1000", `8: services[0].pool: there is no pool "wep"`}},
	{"pool whose name had a fault", head + "pools: [{name: 7, backends: [{address: 10.0.0.1}]}]\nservices: [{name: a, vip: 192.0.2.1:80, forward: nat, pool: '7'}]\n", []string{
		`2: pools[0].name: "7" is not text (put it in quotes if it looks like a number)`}},
	{"other family", service1("vip: '[2001:db8::1]:80', forward: nat, pool: web"), []string{
		`7: services[0].pool: "web" has 10.0.0.1 (pools[0].backends[0]), which is not of the address family of VIP [2001:db8::1]:80/tcp; nat needs one family`}},
	{"mixed families", head + "pools: [{name: p, backends: [{address: 10.0.0.1}, {address: '2001:db8::2'}]}]\nservices: [{name: a, vip: 192.0.2.1:80, forward: dsr, pool: p}]\n", []string{
		`3: services[0].pool: "p" has 2001:db8::2 (pools[0].backends[1]), which is not of the address family of VIP 192.0.2.1:80/tcp; dsr needs one family`}},
	{"dsr to another port", service1("vip: 192.0.2.1:81, forward: dsr, pool: web"), []string{
		`7: services[0].pool: "web" has 10.0.0.1:80 (pools[0].backends[0]), but packets of VIP 192.0.2.1:81/tcp reach it by dsr with the client's port; leave the port out`}},
	{"dsr to a second port", webPool + "  - address: 10.0.0.2\n  - address: 10.0.0.3:81\n  - address: 10.0.0.4:82\nservices: [{name: a, vip: 192.0.2.1:80, forward: dsr, pool: web}]\n", []string{
		`9: services[0].pool: "web" has 10.0.0.3:81 (pools[0].backends[2]), but packets of VIP 192.0.2.1:80/tcp reach it by dsr with the client's port; leave the port out`}},
	{"any-port nat to a port", service1("vip: '192.0.2.1:*', forward: nat, pool: web"), []string{
		`7: services[0].pool: "web" has 10.0.0.1:80 (pools[0].backends[0]), but packets of VIP 192.0.2.1:*/tcp reach it by nat with the client's port; leave the port out`}},
	{"backend is a VIP", service1("vip: 10.0.0.1:81, forward: nat, pool: web"), []string{
		"5: pools[0].backends[0].address: 10.0.0.1 is the address of VIP 10.0.0.1:81/tcp; a backend is another host"}},

	// Capacity.
	{"services over the limit", webPool + "limits: {services: 1}\n" + onWeb + "- {name: b, vip: 192.0.2.1:81, forward: nat, pool: web}\n", []string{
		"7: services: 2 services are over limits.services (1)"}},
	{"backends over the limit", webPool + "limits: {backends: 1}\n" + onWeb + "- {name: b, vip: 192.0.2.1:81, forward: nat, pool: web}\n", []string{
		"7: services: 2 backends (counted once per service that uses them) are over limits.backends (1)"}},
	{"tables over the limit", webPool + "limits: {table_entries: 2051}\n" + onWeb + "- {name: b, vip: 192.0.2.1:81, forward: nat, pool: web}\n", []string{
		"2: pools: 2052 table entries (all tables and lists of backends twice, as new ones are filled beside the old) are over limits.table_entries (2051)"}},

	{"many at once", "interfaces: []\nseed: x\npools:\n- name: p\n  backends:\n  - {address: a, weight: 2000, port: 1}\n", []string{
		"1: interfaces: is missing; it is a list of at least one network interface",
		`2: seed: "x" is not a whole number in 0..18446744073709551615`,
		`6: pools[0].backends[0].address: "a"` + endpoint,
		"6: pools[0].backends[0].weight: 2000 is not in 0..1000",
		"6: pools[0].backends[0].port: unknown key; allowed are server, address, weight, server_id, health, max_cpu, max_memory, max_iops, max_load, max_connections, limits, agent"}},
}

func TestFaults(t *testing.T) {
	for _, c := range faultCases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.file))
			if err == nil {
				t.Fatalf("accepted:\n%s", c.file)
			}
			want := "f:" + strings.Join(c.want, "\nf:")
			if err.Error() != want {
				t.Errorf("got:\n%v\nwant:\n%s", err, want)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	for name, file := range map[string]string{
		"exact beside any port":      noPort + onWeb + "- {name: b, vip: '192.0.2.1:*', forward: nat, pool: web}\n",
		"both protocols":             webPool + onWeb + "- {name: b, vip: 192.0.2.1:80/udp, forward: nat, pool: web}\n",
		"dsr to the VIP's port":      webPool + "services: [{name: a, vip: 192.0.2.1:80, forward: dsr, pool: web}]\n",
		"dsr on every port":          noPort + "services: [{name: a, vip: '192.0.2.1:*', forward: dsr, pool: web}]\n",
		"a pool of drained backends": head + "pools: [{name: web, backends: [{address: 10.0.0.1, weight: 0}]}]\n" + onWeb,
		"an unused pool is no table": head + "limits: {table_entries: 1024}\npools: [{name: p, backends: [{address: 10.0.0.1}]}]\n",
		"wrr's table is reduced": head + "limits: {table_entries: 1024}\npools: [{name: web, algorithm: wrr, backends: " +
			"[{address: 10.0.0.1, weight: 1000}, {address: 10.0.0.2, weight: 500}]}]\n" + onWeb,
		"one table for two services": webPool + "limits: {table_entries: 2052}\n" + onWeb + "- {name: b, vip: 192.0.2.1:81, forward: nat, pool: web}\n",
		"empty mappings and lists":   head + "limits: {}\nevents: {}\ntimeouts: {}\npools: []\nservices: []\n",
		"byte order mark":            "\xef\xbb\xbf" + head,
		"document marks":             "---\n" + head + "...\n",
		"hexadecimal":                head + "seed: 0xff\n",
	} {
		if _, err := Parse("f", []byte(file)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	for _, c := range faultCases {
		f.Add([]byte(c.file))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err == nil {
			if len(c.Interfaces) == 0 {
				t.Errorf("no interfaces")
			}
			return
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			var n int
			if _, err := fmt.Sscanf(line, "f:%d: ", &n); err != nil || n < 1 {
				t.Errorf("error without file and line: %q", line)
			}
		}
	})
}

// large has as many services and ten times as many backends.
func large(services int) []byte {
	var b strings.Builder
	b.WriteString(head + "limits: {services: 65535, backends: 262143, table_entries: 67108864}\npools:\n")
	for i := range services {
		fmt.Fprintf(&b, "  - name: pool-%d\n    table_size: 251\n    backends:\n", i)
		for j := range 10 {
			fmt.Fprintf(&b, "      - {address: \"10.%d.%d.%d:8080\", weight: %d}\n", i/250, i%250, j+1, j+1)
		}
	}
	b.WriteString("services:\n")
	for i := range services {
		fmt.Fprintf(&b, "  - name: service-%d\n    vip: 192.%d.%d.1:80/tcp\n    forward: nat\n    pool: pool-%d\n", i, i/250, i%250, i)
	}
	return []byte(b.String())
}

func BenchmarkParse10000Services(b *testing.B) {
	data := large(10_000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse("f", data); err != nil {
			b.Fatal(err)
		}
	}
}

// Every line of a large file is wrong: reporting must not cost more than
// linear time.
func BenchmarkParse100000Faults(b *testing.B) {
	data := []byte(strings.ReplaceAll(string(large(10_000)), "weight: ", "weight: 100"))
	for b.Loop() {
		if _, err := Parse("f", data); err == nil {
			b.Fatal("accepted")
		}
	}
}
