package netlab

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"weir/loader/lb"
)

// A host that joins later reaches those that were there, and goes with them.
func TestJoin(t *testing.T) {
	topo := build(t, Options{Backends: 1, Forward: lb.DSR, Family: 4})
	ns, err := topo.NewHost("late")
	if err != nil {
		t.Fatal(err)
	}
	for number, ok := range map[int]bool{1: false, firstJoined - 1: false, 255: false, firstJoined: true} {
		if _, _, err := topo.Join(ns, "late", number); (err == nil) != ok {
			t.Fatalf("host number %d: %v", number, err)
		}
	}
	l, err := topo.Backends[0].NS.Listen("tcp", ":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echo(l)
	transfer(t, ns, netip.Addr{}, netip.AddrPortFrom(topo.Backends[0].Addr, 8080))
}

// Answers take the time that the way is said to take.
func TestImpair(t *testing.T) {
	topo := build(t, Options{Backends: 1, Forward: lb.NAT, Family: 4})
	const delay = 50 * time.Millisecond
	err := topo.Client.Impair(NIC, Trouble{Delay: delay})
	if errors.Is(err, ErrNoKernelSupport) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c, err := topo.Client.DialContext(t.Context(), "tcp", netip.AddrPortFrom(topo.BalancerAddr, 9).String())
	if err == nil {
		c.Close()
	}
	if took := time.Since(began); took < delay {
		t.Errorf("refused within %s", took)
	}
}
