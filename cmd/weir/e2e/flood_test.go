package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/loader/api/client"
	"weir/loader/lb"
)

// Floods of new flows from random sources, with a flow table that they fill at
// once: what is established is neither forgotten nor sent to another backend,
// and newcomers get through.
func TestFlood(t *testing.T) {
	for _, p := range []plan{
		{forward: lb.NAT, family: 4, algorithm: "rr"},
		{forward: lb.NAT, family: 6},
		{forward: lb.DSR, family: 4, algorithm: "lc"},
		{forward: lb.DSR, family: 6, algorithm: "wrr", weights: []lb.Weight{3, 2, 1}},
		{forward: lb.SNAT, family: 4},
	} {
		p.both, p.settings = true, settings{"limits": fmt.Sprintf("{flows: %d}", floodedFlows)}
		t.Run(p.String(), func(t *testing.T) { testFlood(t, p) })
	}
}

const (
	// Room for three times as many, which a million packets a second replace in a
	// tenth of a second: longer than a newcomer's answer takes.
	floodedFlows = 1 << 15
	silentEach   = 150 // established connections, and as many streams
	talkingEach  = 25
	talkPause    = 20 * time.Millisecond
	newcomers    = 2 // at once, of each protocol
)

func testFlood(t *testing.T, p plan) {
	l := start(t, p)
	f := newFlooder(t, l)
	cpu := reserveCPU(t, l.daemon)
	l.pollOn(t, cpu)
	silent, talking := l.converse(t, silentEach), l.converse(t, talkingEach)
	for _, proto := range []lb.Proto{lb.TCP, lb.UDP} {
		t.Run(proto.String(), func(t *testing.T) {
			before := status(t).Totals
			f.start(t, proto, cpu)
			traffic := l.traffic(talking)
			<-time.After(either(30*time.Second, 1500*time.Millisecond)) // how long a flood lasts
			full := l.flowsStored(t)
			sent, took := f.stop(t)
			traffic.stop()
			after := status(t).Totals

			t.Logf("%.2f million packets a second for %s, %.2f million of them forwarded; %d of %d slots in use",
				perSecond(sent, took), took.Round(time.Millisecond), perSecond(after.Packets-before.Packets, took), full, 3*floodedFlows)
			if full < 3*floodedFlows*99/100 {
				t.Error("the flow table is not full")
			}
			traffic.check(t)
			l.stillStored(t, append(silent, talking...))
			for _, c := range silent {
				if err := c.say(); err != nil {
					t.Errorf("after the flood: %v", err)
				}
			}
		})
	}
}

func perSecond(n uint64, d time.Duration) float64 { return float64(n) / d.Seconds() / 1e6 }

// traffic is what goes on during a flood.
type traffic struct {
	stopping             context.Context
	stop                 func() // waits for the requests under way
	requests, newFlows   atomic.Uint64
	unanswered, newLost  atomic.Uint64
	broken, newBroken    atomic.Pointer[error] // the first each
	slowest, slowestNews atomic.Int64          // ns
}

// traffic has established flows talk and newcomers come until it is stopped.
func (l *lab) traffic(established []*conversation) *traffic {
	ctx, cancel := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	tr := &traffic{stopping: ctx}
	tr.stop = func() { cancel(); workers.Wait() }
	for _, c := range established {
		workers.Go(func() { tr.talk(c) })
	}
	for i := range newcomers {
		for _, open := range []func(netip.Addr) (*conversation, error){l.openTCP, l.openUDP} {
			workers.Go(func() { tr.come(l.ClientAddrs[i:], open) })
		}
	}
	return tr
}

func (tr *traffic) rest() {
	select {
	case <-tr.stopping.Done():
	case <-time.After(talkPause):
	}
}

func (tr *traffic) talk(c *conversation) {
	for ; tr.stopping.Err() == nil; tr.rest() {
		begun := time.Now()
		err := c.say()
		tr.requests.Add(1)
		atMost(&tr.slowest, time.Since(begun))
		if err == nil {
			continue
		}
		if !c.lost(err) {
			tr.broken.CompareAndSwap(nil, &err)
			return
		}
		tr.unanswered.Add(1)
	}
}

// come makes one flow after the other, from one address after the other.
func (tr *traffic) come(from []netip.Addr, open func(netip.Addr) (*conversation, error)) {
	for n := 0; tr.stopping.Err() == nil; n++ {
		begun := time.Now()
		err := try2(open, from[n%len(from)])
		tr.newFlows.Add(1)
		atMost(&tr.slowestNews, time.Since(begun))
		if err != nil {
			tr.newLost.Add(1)
			tr.newBroken.CompareAndSwap(nil, &err)
		}
	}
}

// try2 makes two requests on a flow of its own.
func try2(open func(netip.Addr) (*conversation, error), from netip.Addr) error {
	c, err := open(from)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.say(); err != nil {
		return err
	}
	return c.say()
}

func atMost(max *atomic.Int64, d time.Duration) {
	for old := max.Load(); int64(d) > old && !max.CompareAndSwap(old, int64(d)); {
		old = max.Load()
	}
}

func (tr *traffic) check(t *testing.T) {
	t.Helper()
	t.Logf("established: %d requests, %d datagrams lost, the slowest took %s; new: %d, %d of them failed, the slowest took %s",
		tr.requests.Load(), tr.unanswered.Load(), time.Duration(tr.slowest.Load()).Round(time.Microsecond),
		tr.newFlows.Load(), tr.newLost.Load(), time.Duration(tr.slowestNews.Load()).Round(time.Microsecond))
	if err := tr.newBroken.Load(); err != nil {
		t.Logf("the first new flow that failed: %v", *err)
	}
	if err := tr.broken.Load(); err != nil {
		t.Errorf("an established flow: %v", *err)
	}
	if tr.newFlows.Load() < 100 || tr.requests.Load() < 100 {
		t.Error("too few requests to show anything")
	}
	if lost := tr.newLost.Load(); lost*100 > tr.newFlows.Load() {
		t.Errorf("%d of %d new flows failed", lost, tr.newFlows.Load())
	}
}

// flowsStored counts the flow table.
func (l *lab) flowsStored(t *testing.T) int {
	t.Helper()
	all, err := client.New(socketPath).Flows(t.Context(), client.FlowQuery{Limit: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	return len(all.Flows)
}

// stillStored: each flow is in the table as it was.
func (l *lab) stillStored(t *testing.T, all []*conversation) {
	t.Helper()
	gone := 0
	for _, c := range all {
		found, err := client.New(socketPath).Flows(t.Context(), client.FlowQuery{Src: c.from, Dst: l.config.endpoint(), Proto: c.proto})
		if err != nil {
			t.Fatal(err)
		}
		want := map[lb.Proto]string{lb.TCP: "established", lb.UDP: "stream"}[c.proto]
		if len(found.Flows) != 1 || found.Flows[0].State != want || found.Flows[0].Endpoint.String() != c.who {
			gone++
		}
	}
	if gone > 0 {
		t.Errorf("%d of %d established flows were evicted", gone, len(all))
	}
}
