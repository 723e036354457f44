package config

import (
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"weir/loader/lb"
)

const full = `interfaces: [eth0, eth1]
xdp_mode: generic
pin_dir: /sys/fs/bpf/other
socket: /run/other.sock
state_dir: /var/lib/other
seed: 18446744073709551615
events: {sample: 10}
limits: {services: 2, backends: 3, flows: 1024, table_entries: 1024}
timeouts: {embryonic: 5s, established: 1h, closing: 10s, udp: 1m30s}
tunnel: {gue_port: 5555, source4: 10.9.0.0/16, source6: "fd00:9::/64"}
pools:
  - name: web
    algorithm: maglev
    table_size: 251
    backends:
      - {address: "10.0.0.11:8080", weight: 1000}
      - {address: 10.0.0.12:8080}
      - {address: 10.0.0.13, weight: 0}
  - {name: v6, algorithm: wrr, backends: [{address: "2001:db8::1"}, {address: "[2001:db8::1]:80"}]}
services:
  - {name: web, vip: 192.0.2.1:80/tcp, forward: nat, pool: web}
  - {name: https, vip: "192.0.2.1:*/tcp", forward: l7}
`

func TestParseReadsEverything(t *testing.T) {
	got, err := Parse("weir.yaml", []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	vip := netip.MustParseAddr("192.0.2.1")
	want := lb.Config{
		Interfaces: []string{"eth0", "eth1"}, XDPMode: lb.XDPGeneric,
		PinDir: "/sys/fs/bpf/other", Socket: "/run/other.sock", StateDir: "/var/lib/other",
		Seed: math.MaxUint64, EventSample: 10,
		Limits: lb.Limits{Services: 2, Backends: 3, Flows: 1024, TableEntries: 1024, Sources: 65536},
		Least:  lb.Limits{Services: 2, Backends: 3, Flows: 1024, TableEntries: 1024, Sources: 65536},
		Timeouts: lb.Timeouts{
			Embryonic: 5 * time.Second, Established: time.Hour, Closing: 10 * time.Second, UDP: 90 * time.Second,
		},
		Tunnel: lb.Tunnel{GUEPort: 5555, Source4: netip.MustParsePrefix("10.9.0.0/16"), Source6: netip.MustParsePrefix("fd00:9::/64")},
		Pools: []lb.Pool{
			{Name: "web", Law: lb.DefaultLaw(), Algorithm: lb.Maglev, TableSize: 251, Backends: []lb.Backend{
				{Addr: netip.MustParseAddr("10.0.0.11"), Port: 8080, Weight: 1000},
				{Addr: netip.MustParseAddr("10.0.0.12"), Port: 8080, Weight: 1},
				{Addr: netip.MustParseAddr("10.0.0.13")},
			}},
			{Name: "v6", Law: lb.DefaultLaw(), Algorithm: lb.WeightedRoundRobin, Backends: []lb.Backend{
				{Addr: netip.MustParseAddr("2001:db8::1"), Weight: 1},
				{Addr: netip.MustParseAddr("2001:db8::1"), Port: 80, Weight: 1},
			}},
		},
		Services: []lb.Service{
			{Name: "web", VIP: lb.VIP{Addr: vip, Port: 80, Proto: lb.TCP}, Forward: lb.NAT, Pool: "web"},
			{Name: "https", VIP: lb.VIP{Addr: vip, Proto: lb.TCP}, Forward: lb.L7},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseFillsInDefaults(t *testing.T) {
	got, err := Parse("weir.yaml", []byte("interfaces: [eth0]\nlimits: {flows: 2048}\npools: [{name: p, backends: [{address: 10.0.0.1}]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := lb.Config{
		Interfaces: []string{"eth0"}, PinDir: "/sys/fs/bpf/weir",
		Socket: "/run/weir/weir.sock", StateDir: "/var/lib/weir", EventSample: 1,
		Limits: lb.Limits{Services: 1024, Backends: 4096, Flows: 2048, TableEntries: 1048576, Sources: 65536},
		Least:  lb.Limits{Flows: 2048, Sources: 65536},
		Timeouts: lb.Timeouts{
			Embryonic: 30 * time.Second, Established: 15 * time.Minute, Closing: time.Minute, UDP: time.Minute,
		},
		Tunnel: lb.Tunnel{GUEPort: 6080, Source4: netip.MustParsePrefix("172.16.0.0/16"), Source6: netip.MustParsePrefix("100::/64")},
		Pools: []lb.Pool{{Name: "p", Law: lb.DefaultLaw(), Algorithm: lb.Maglev, TableSize: 1021,
			Backends: []lb.Backend{{Addr: netip.MustParseAddr("10.0.0.1"), Weight: 1}}}},
		Services: []lb.Service{},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestLoad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "weir.yaml")
	if _, err := Load(name); err == nil || !strings.HasPrefix(err.Error(), "read configuration: open "+name) {
		t.Errorf("a missing file gives %v", err)
	}
	if err := os.WriteFile(name, []byte(full), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(name); err != nil || len(c.Services) != 2 {
		t.Errorf("%d services, error %v", len(c.Services), err)
	}
	if err := os.WriteFile(name, []byte("interfaces: eth0"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(name); err == nil || err.Error() != name+`:1: interfaces: "eth0" is not a list` {
		t.Errorf("a fault reads %v", err)
	}
	if err := os.Truncate(name, MaxBytes+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(name); err == nil || err.Error() != name+":1: the file is larger than 64 MiB" {
		t.Errorf("a large file gives %v", err)
	}
}

func TestFaultsAreErrors(t *testing.T) {
	_, err := Parse("weir.yaml", []byte("interfaces: [eth0]\nseed: -1\n"))
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 1 {
		t.Fatalf("%T: %v", err, err)
	}
	fault, ok := joined.Unwrap()[0].(*Error)
	if !ok || fault.File != "weir.yaml" || fault.Line != 2 || fault.Field != "seed" {
		t.Errorf("%+v", fault)
	}
}
