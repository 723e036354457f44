package upstream

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"weir/loader/lb"
)

// ejectable is a pool of n backends, by their last byte.
func ejectable(t *testing.T, n int, o lb.Ejection) *Pool {
	p, err := NewPool(Options{Name: "p", Ejection: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	var targets []Target
	for i := range n {
		targets = append(targets, Target{Addr: addr(i), Weight: 64, Up: true})
	}
	if err := p.Update(targets); err != nil {
		t.Fatal(err)
	}
	return p
}

func addr(i int) netip.AddrPort {
	return netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:80", i))
}

// in lists the backends that are picked from.
func in(p *Pool) (all []int) {
	for _, e := range p.set.Load().endpoints {
		all = append(all, int(e.Addr.Addr().As4()[3]))
	}
	return all
}

func TestObserve(t *testing.T) {
	p := ejectable(t, 3, lb.Ejection{Errors: 3, Gateway: 2, Percent: 100})
	observe := func(i int, statuses ...int) {
		for _, s := range statuses {
			p.observe(p.all[addr(i)], resultOf(s))
		}
	}
	observe(0, 500, 500, 200, 500, 500, 404, 500, 500)
	observe(1, 503, 500, 200, 502, 200, 504)
	if got := in(p); len(got) != 3 {
		t.Fatalf("left are %v: no row was long enough", got)
	}
	observe(0, 501)
	observe(1, 503)
	if got := in(p); !slices.Equal(got, []int{2}) {
		t.Fatalf("left are %v", got)
	}
}

func TestEjectionTimes(t *testing.T) {
	const base = 10 * time.Second
	p := ejectable(t, 10, lb.Ejection{Errors: 1, Percent: 25, Base: base, Longest: 25 * time.Second})
	now := time.Now()
	eject := func(i int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.eject(p.all[addr(i)], now)
	}
	for i := range 4 {
		eject(i)
	}
	if got := in(p); !slices.Equal(got, []int{2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Fatalf("left are %v: a quarter of ten are two", got)
	}
	for round, want := range []time.Duration{base, 2 * base, 25 * time.Second, 25 * time.Second} {
		now = now.Add(want)
		if p.readmit(now); len(in(p)) != 8 {
			t.Errorf("round %d: readmitted within %v", round, want)
		}
		now = now.Add(time.Millisecond)
		if p.readmit(now); len(in(p)) != 10 {
			t.Errorf("round %d: not readmitted after %v", round, want)
		}
		eject(0)
		eject(1)
	}
	now = now.Add(time.Minute)
	p.readmit(now)
	for range 5 {
		now = now.Add(time.Minute)
		p.judge(now)
	}
	eject(0)
	if p.readmit(now.Add(base + time.Millisecond)); len(in(p)) != 10 {
		t.Error("good behaviour is not taken into account")
	}
}

// TestLastStays: without it there would be no answer at all.
func TestLastStays(t *testing.T) {
	p := ejectable(t, 1, lb.Ejection{Errors: 1, Percent: 100})
	p.observe(p.all[addr(0)], failed)
	if got := in(p); len(got) != 1 {
		t.Errorf("left are %v", got)
	}
}

func TestSuccessRate(t *testing.T) {
	p := ejectable(t, 6, lb.Ejection{Percent: 100, Rate: lb.SuccessRate{Hosts: 5, Requests: 100, Factor: 1900}})
	requests := func(i, good, bad int) {
		for range good {
			p.observe(p.all[addr(i)], succeeded)
		}
		for range bad {
			p.observe(p.all[addr(i)], failed)
		}
	}
	for i := range 5 {
		requests(i, 99, 1)
	}
	requests(5, 40, 59) // too few to say
	if p.judge(time.Now()); len(in(p)) != 6 {
		t.Fatalf("left are %v", in(p))
	}
	for i := range 5 {
		requests(i, 99, 1)
	}
	requests(5, 70, 30)
	if p.judge(time.Now()); !slices.Equal(in(p), []int{0, 1, 2, 3, 4}) {
		t.Fatalf("left are %v", in(p))
	}
}

// TestUpdate: what is not of the pool any more is forgotten, and what stays
// keeps its state.
func TestUpdate(t *testing.T) {
	p := ejectable(t, 4, lb.Ejection{Errors: 1, Percent: 100})
	p.observe(p.all[addr(0)], failed)
	kept := p.all[addr(1)]
	err := p.Update([]Target{{Addr: addr(0), Weight: 64, Up: true}, {Addr: addr(1), Weight: 64, Up: true}, {Addr: addr(2), Weight: 0, Up: true}, {Addr: addr(3), Weight: 64}})
	if got := in(p); err != nil || !slices.Equal(got, []int{1, 2}) || p.all[addr(1)] != kept {
		t.Errorf("left are %v, %v", got, err)
	}
	for range 10 {
		i := p.set.Load().pick(0, nil)
		if e := p.set.Load().endpoints[i]; e != kept {
			t.Errorf("picked %v", e.Addr)
		}
	}
}
