package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"weir/loader/lb"
)

// Every forwarding mode carries HTTP and a UDP echo, of both families and,
// where a tunnel can, between them.
func TestForwarding(t *testing.T) {
	for _, p := range forwardingPlans() {
		t.Run(p.String(), func(t *testing.T) { testForwarding(t, p) })
	}
}

func forwardingPlans() (all []plan) {
	for _, forward := range []lb.Forward{lb.NAT, lb.SNAT, lb.DSR, lb.L7, lb.IPIP, lb.GUE} {
		for _, family := range []int{4, 6} {
			p := plan{forward: forward, family: family, both: true, algorithm: "rr"}
			if !forward.Tunnel() {
				all = append(all, p)
				continue
			}
			for _, p.backends = range []int{4, 6} {
				all = append(all, p)
			}
		}
	}
	return all
}

const (
	forwardRequests = 400
	forwardPorts    = 60
	forwardBody     = 512 << 10 // bytes, each way
)

func testForwarding(t *testing.T, p plan) {
	l := start(t, p)
	t.Run("tcp", func(t *testing.T) {
		d := l.load(t, mix{oneShot: 3, keepAlive: 1, held: 3})
		d.more(t, forwardRequests)
		d.finish(t, "small requests")
		for range len(l.servers) {
			l.download(t)
			l.upload(t)
		}
		l.reachedAll(t)
	})
	for _, s := range l.servers {
		s.accepted.Store(0)
	}
	t.Run("udp", func(t *testing.T) {
		for i := range forwardPorts {
			l.exchange(t, l.ClientAddrs[i%len(l.ClientAddrs)])
		}
		l.reachedAll(t)
	})
	l.droppedNone(t)
}

func (l *lab) download(t *testing.T) {
	t.Helper()
	resp, c := l.do(t, func(c *connection) (*http.Response, error) {
		return c.get(fmt.Sprintf("/stream?bytes=%d&rate=%d", forwardBody, 1<<30))
	})
	defer c.Close()
	if err := checkNoise(resp.Body, forwardBody); err != nil {
		t.Error("download:", err)
	}
}

func (l *lab) upload(t *testing.T) {
	t.Helper()
	_, c := l.do(t, func(c *connection) (*http.Response, error) {
		return c.post("/check", noise(forwardBody), forwardBody)
	})
	c.Close()
}

// do makes one request on a connection of its own.
func (l *lab) do(t *testing.T, request func(*connection) (*http.Response, error)) (resp *http.Response, c *connection) {
	t.Helper()
	err := l.Client.Do(func() (err error) {
		if c, err = dial(context.Background(), l.ClientAddrs[0], l.config.endpoint()); err == nil {
			resp, err = request(c)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return resp, c
}

// reachedAll: each server had its share, from the address that its forwarding
// mode says.
func (l *lab) reachedAll(t *testing.T) {
	t.Helper()
	for _, s := range l.servers {
		peer := s.peer.Load()
		if s.accepted.Load() == 0 || peer == nil {
			t.Fatalf("nothing reached %s: %v", s.name(), l.perServer())
		}
		if l.config.forward == lb.SNAT && *peer != l.SourceAddr || l.config.forward != lb.SNAT && !slices.Contains(l.ClientAddrs, *peer) {
			t.Errorf("%s was reached from %s, not by %s", s.name(), peer, l.config.forward)
		}
	}
	t.Logf("%v per server", l.perServer())
}

// droppedNone: but the segments by which a client learns the MTU of a tunnel.
func (l *lab) droppedNone(t *testing.T) {
	t.Helper()
	for _, r := range status(t).Reasons {
		learnt := r.Reason == "too_big" && l.config.forward.Tunnel()
		if r.Verdict == "drop" && r.Packets > 0 && !learnt {
			t.Errorf("%d packets dropped: %s", r.Packets, r.Reason)
		}
	}
}
