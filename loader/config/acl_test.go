package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/loader/lb"
)

// onWebWith is a service with more keys.
func onWebWith(keys string) string {
	return webPool + "services:\n- {name: a, vip: 192.0.2.1:80, forward: nat, pool: web, " + keys + "}\n"
}

func fileOf(t *testing.T, lines string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(name, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestACLFaults(t *testing.T) {
	bad := fileOf(t, "# these\n10.0.0.0/8\n\n10.0.0.1/8 # host bits\nnot one\r\n"+strings.Repeat("x\n", 20))
	pipe := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(pipe, 0o700); err != nil {
		t.Fatal(err)
	}
	const like = " is not a prefix such as 198.51.100.0/24 or 2001:db8::/32, nor an address"
	for _, c := range []struct{ name, file, want string }{
		{"no prefix", "acl: {deny: [10.0.0.0/33]}\n", `2: acl.deny[0]: "10.0.0.0/33"` + like},
		{"zone", "acl: {deny: ['fe80::1%eth0']}\n", `2: acl.deny[0]: "fe80::1%eth0"` + like},
		{"bits behind", "acl: {deny: [10.0.0.1/24]}\n", `2: acl.deny[0]: "10.0.0.1/24" has bits behind its length; the prefix is 10.0.0.0/24`},
		{"mapped", "acl: {allow: ['::ffff:10.0.0.0/120']}\n", `2: acl.allow[0]: "::ffff:10.0.0.0/120" is IPv4-mapped; write it as IPv4`},
		{"both lists without default", "acl: {allow: [10.0.0.0/8], deny: [10.0.0.0/9]}\n", "2: acl.default: is missing; it is allow or deny: what holds for sources in neither list"},
		{"default", "acl: {deny: [10.0.0.0/8], default: drop}\n", `2: acl.default: "drop" is not allow or deny`},
		{"contradiction", "acl: {allow: [10.0.0.1], deny: [10.0.0.1/32], default: allow}\n", "2: acl: 10.0.0.1/32 is both allowed and denied"},
		{"relative file", "acl: {deny_file: list}\n", `2: acl.deny_file: "list" is not an absolute path`},
		{"missing file", "acl: {deny_file: /nowhere/list}\n", "2: acl.deny_file: open /nowhere/list: no such file or directory"},
		{"directory", "acl: {deny_file: " + pipe + "}\n", "2: acl.deny_file: " + pipe + " is not a regular file"},
		{"device", "acl: {deny_file: /dev/zero}\n", "2: acl.deny_file: /dev/zero is not a regular file"},
		{"lines", "acl: {allow_file: " + bad + "}\n",
			"2: acl.allow_file: " + bad + `:4: "10.0.0.1/8" has bits behind its length; the prefix is 10.0.0.0/8` + "\n" +
				"f:2: acl.allow_file: " + bad + `:5: "not one"` + like + "\n"},
		{"many lines", "acl: {allow_file: " + bad + "}\n", "f:2: acl.allow_file: " + bad + ": 12 more lines are no prefixes"},
		{"of a service", strings.TrimPrefix(onWebWith("acl: {allow: [x]}"), head), `7: services[0].acl.allow[0]: "x"` + like},
		{"rate", strings.TrimPrefix(onWebWith("new_flows_per_source: {rate: 0}, max_new_flows: 0"), head),
			"7: services[0].new_flows_per_source.rate: 0 is not in 1..10000\nf:7: services[0].max_new_flows: 0 is not in 1..10000000"},
		{"one over each", strings.TrimPrefix(onWebWith("new_flows_per_source: {rate: 10001, burst: 10001}, max_new_flows: 10000001"), head),
			"7: services[0].new_flows_per_source.rate: 10001 is not in 1..10000\nf:7: services[0].new_flows_per_source.burst: 10001 is not in 1..10000\n" +
				"f:7: services[0].max_new_flows: 10000001 is not in 1..10000000"},
		{"slow burst", strings.TrimPrefix(onWebWith("new_flows_per_source: {rate: 1, burst: 601}"), head),
			"7: services[0].new_flows_per_source.burst: 601 new flows at 1 a second take longer than 10m0s to be available again"},
		{"l7 over UDP", "services: [{name: a, vip: 192.0.2.1:80/udp, forward: l7, max_new_flows: 5}]\n",
			"2: services[0].max_new_flows: must be left out: with l7 over UDP the packets that open flows cannot be told from others"},
		{"sources", "limits: {sources: 16777217}\n", "2: limits.sources: 16777217 is not in 1024..16777216"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", []byte(head+c.file))
			if err == nil || !strings.Contains("f:"+strings.TrimPrefix(err.Error()+"\n", "f:"), c.want) {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}

// One more prefix than there can be, in two lists, is refused.
func TestMostPrefixes(t *testing.T) {
	var lines strings.Builder
	for i := range lb.MaxPrefixes {
		fmt.Fprintf(&lines, "2001:db8:%x:%x::/64\n", i>>16, i&0xffff)
	}
	file := fileOf(t, lines.String())
	c, err := Parse("f", []byte(head+"acl: {deny_file: "+file+"}\n"))
	if err != nil || len(c.ACL.Rules) != lb.MaxPrefixes+2 {
		t.Fatalf("%d prefixes: %v", lb.MaxPrefixes, err)
	}
	_, err = Parse("f", []byte(onWebWith("acl: {deny: [10.0.0.1]}")+"acl: {deny_file: "+file+"}\n"))
	if want := "f:1: 262145 prefixes in all acls are more than there can be (262144)"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestACLIsRead(t *testing.T) {
	file := fileOf(t, "203.0.113.7 # one\n2001:db8::/32\n")
	c, err := Parse("f", []byte(onWebWith("acl: {allow: [10.0.0.0/8]}, new_flows_per_source: {rate: 5}, max_new_flows: 7")+
		"acl: {deny: [203.0.113.0/24], allow_file: "+file+", default: allow}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Services[0]
	if s.NewFlowsPerSource != (lb.FlowLimit{Rate: 5, Burst: 5}) || s.MaxNewFlows != 7 {
		t.Errorf("limits of %+v", s)
	}
	for _, x := range []struct {
		acl  *lb.ACL
		addr string
		want lb.ACLRule
	}{
		{c.ACL, "203.0.113.8", lb.ACLRule{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Deny: true}},
		{c.ACL, "203.0.113.7", lb.ACLRule{Prefix: netip.MustParsePrefix("203.0.113.7/32")}},
		{c.ACL, "192.0.2.1", lb.ACLRule{Prefix: netip.MustParsePrefix("0.0.0.0/0")}},
		{c.ACL, "2001:db8::1", lb.ACLRule{Prefix: netip.MustParsePrefix("2001:db8::/32")}},
		{s.ACL, "10.1.2.3", lb.ACLRule{Prefix: netip.MustParsePrefix("10.0.0.0/8")}},
		{s.ACL, "11.1.2.3", lb.ACLRule{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Deny: true}},
		{s.ACL, "2001:db8::1", lb.ACLRule{Prefix: netip.MustParsePrefix("::/0"), Deny: true}},
	} {
		if got := x.acl.Match(netip.MustParseAddr(x.addr)); got != x.want {
			t.Errorf("%s: %+v, want %+v", x.addr, got, x.want)
		}
	}
}

// What is taken as a prefix is one, and written back it is the same.
func FuzzPrefix(f *testing.F) {
	for _, text := range []string{"10.0.0.0/8", "2001:db8::/32", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "10.0.0.1/8", "x"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePrefix(text)
		if err != nil {
			return
		}
		again, err := parsePrefix(p.String())
		if err != nil || again != p || p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			t.Errorf("%q is %s, and that is %s, %v", text, p, again, err)
		}
	})
}
