package byvip

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"weir/loader/health/syn"
	"weir/loader/lb"
)

func prober(t *testing.T) *Prober {
	t.Helper()
	return New(Options{Hop: func(netip.Addr) lb.NextHop { return lb.NextHop{} }, Tunnel: func() lb.Tunnel { return lb.Tunnel{} }})
}

func TestAnswersFindTheirProbe(t *testing.T) {
	p := prober(t)
	pr := &probe{vip: vip4, seq: 41, answer: make(chan syn.Answer, 1)}
	port, err := p.enter(pr)
	if err != nil || port < syn.FirstVIPPort {
		t.Fatalf("port %d, %v", port, err)
	}
	to := netip.AddrPortFrom(client4.Addr(), port)
	for name, a := range map[string]syn.Answer{
		"of another VIP":   {From: vip6, To: to, Ack: 42},
		"of another port":  {From: netip.AddrPortFrom(vip4.Addr(), 81), To: to, Ack: 42},
		"to another probe": {From: vip4, To: netip.AddrPortFrom(client4.Addr(), port+1), Ack: 42},
		"to an older SYN":  {From: vip4, To: to, Ack: 41},
	} {
		p.deliver(a)
		if len(pr.answer) != 0 {
			t.Errorf("an answer %s is taken", name)
		}
	}
	right := syn.Answer{From: vip4, To: to, Ack: 42}
	p.deliver(right)
	p.deliver(right) // nobody blocks
	if got := <-pr.answer; got != right {
		t.Errorf("got %+v", got)
	}
	p.leave(port)
	p.deliver(right)
	if len(pr.answer) != 0 {
		t.Error("a late answer is taken")
	}
}

func TestPortsRunOut(t *testing.T) {
	p := prober(t)
	for range ports {
		if _, err := p.enter(&probe{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.enter(&probe{}); !errors.Is(err, ErrLocal) {
		t.Errorf("error %v", err)
	}
	p.leave(syn.FirstVIPPort + 7)
	if port, err := p.enter(&probe{}); err != nil || port != syn.FirstVIPPort+7 {
		t.Errorf("port %d, %v", port, err)
	}
}

// Nothing is opened before a probe is wanted, and a probe waits no longer than
// it may for somebody to run.
func TestNobodyRuns(t *testing.T) {
	p := prober(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Reach(ctx, vip4, client4.Addr(), lb.DSR); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	idle := prober(t)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := idle.Run(stopped); err != nil || idle.link != nil {
		t.Errorf("opened %v, %v", idle.link, err)
	}
}
