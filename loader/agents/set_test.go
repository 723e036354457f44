package agents

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/agent/report"
	"weir/loader/lb"
)

// script is an asker whose answers the test decides.
type script struct {
	mu     sync.Mutex
	asked  []time.Time
	closed bool
	answer func(ctx context.Context, n int) (report.Report, error)
}

func (s *script) ask(ctx context.Context) (report.Report, error) {
	s.mu.Lock()
	s.asked = append(s.asked, time.Now())
	n := len(s.asked)
	s.mu.Unlock()
	if s.answer == nil {
		return report.Report{Seq: uint64(n)}, nil
	}
	return s.answer(ctx, n)
}

func (s *script) close() { s.closed = true }

func (s *script) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// scripted is a set whose agents are scripts, by address.
func scripted(answer func(ctx context.Context, n int) (report.Report, error)) (*Set, map[netip.Addr]*script) {
	s, all := NewSet(), map[netip.Addr]*script{}
	s.open = func(src source) (asker, error) {
		a := &script{answer: answer}
		all[src.address.Addr()] = a
		return a, nil
	}
	return s, all
}

func target(pool string, n int, every time.Duration) Target {
	addr := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	return Target{Key{pool, netip.AddrPortFrom(addr, 80)}, lb.Agent{Protocol: lb.AgentHAProxy, Port: 9, Interval: every, Timeout: every / 2}}
}

// run runs a set inside a bubble and drains what it hears.
func run(t *testing.T, s *Set) (heard func() []Heard, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all []Heard
	var mu sync.Mutex
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() {
		for {
			select {
			case h := <-s.Heard():
				mu.Lock()
				all = append(all, h)
				mu.Unlock()
			case <-ctx.Done():
				return
			}
		}
	})
	heard = func() []Heard {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
	return heard, func() { cancel(); running.Wait() }
}

// A thousand agents are an even stream of questions.
func TestNoBursts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, scripts := scripted(nil)
		var all []Target
		for i := range 1000 {
			all = append(all, target("web", i, time.Second))
		}
		if err := s.Watch(all); err != nil {
			t.Fatal(err)
		}
		_, stop := run(t, s)
		begin := time.Now()
		time.Sleep(5 * time.Second)
		stop()
		slots := map[time.Duration]int{} // of 10 ms, in which 10 are due
		for _, a := range scripts {
			times := a.times()
			if len(times) != 5 {
				t.Errorf("asked %d times in 5 s", len(times))
			}
			for _, at := range times {
				slots[at.Sub(begin)/(10*time.Millisecond)]++
			}
		}
		for slot, n := range slots {
			if n > 40 {
				t.Errorf("%d questions in 10 ms after %s", n, slot*10*time.Millisecond)
			}
		}
	})
}

// An agent that serves several pools is asked once for all of them.
func TestOneQuestionForSeveralPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, scripts := scripted(nil)
		web, api := target("web", 1, time.Second), target("api", 1, time.Second)
		api.Endpoint = netip.AddrPortFrom(api.Endpoint.Addr(), 81)
		if err := s.Watch([]Target{web, api}); err != nil {
			t.Fatal(err)
		}
		heard, stop := run(t, s)
		time.Sleep(3 * time.Second)
		stop()
		asked := len(scripts[web.Endpoint.Addr()].times())
		per := map[Key]int{}
		for _, h := range heard() {
			per[h.Key]++
		}
		if asked != 3 || per[web.Key] != 3 || per[api.Key] != 3 {
			t.Errorf("asked %d times, heard %v", asked, per)
		}
		if c := s.Counts(); c.Agents != 1 || c.Reports != 3 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestWatchReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, scripts := scripted(nil)
		stays, goes, comes := target("web", 1, time.Second), target("web", 2, time.Second), target("web", 3, time.Second)
		_, stop := run(t, s)
		defer stop()
		for _, all := range [][]Target{{stays, goes}, {stays, comes}} {
			if err := s.Watch(all); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		n := func(x Target) int { return len(scripts[x.Endpoint.Addr()].times()) }
		if n(stays) != 20 || n(goes) != 10 || n(comes) != 10 || !scripts[goes.Endpoint.Addr()].closed {
			t.Errorf("asked %d, %d and %d times", n(stays), n(goes), n(comes))
		}
		if _, known := s.Status(goes.Key); known {
			t.Error("one that has gone is known")
		}
		if st, known := s.Status(stays.Key); !known || st.Answers != 20 || st.Err != nil || st.Address.Port() != 9 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestWatchRefused(t *testing.T) {
	s := NewSet()
	one := target("web", 1, time.Second)
	if err := s.Watch([]Target{one}); err != nil {
		t.Fatal(err)
	}
	bad := target("web", 2, time.Second)
	bad.Agent.Protocol = lb.AgentWeir
	for name, all := range map[string][]Target{"twice": {one, one}, "no certificate": {bad}} {
		if err := s.Watch(all); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, known := s.Status(one.Key); !known || s.Counts().Agents != 1 {
			t.Errorf("%s: what was watched is gone", name)
		}
	}
}

// One that hangs is asked again in its turn, never twice at once, and less often
// if it goes on.
func TestSlowAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, scripts := scripted(func(ctx context.Context, n int) (report.Report, error) {
			if n%2 == 1 {
				<-ctx.Done()
				return report.Report{}, ctx.Err()
			}
			return report.Report{}, errors.New("garbage")
		})
		one := target("web", 1, time.Second)
		if err := s.Watch([]Target{one}); err != nil {
			t.Fatal(err)
		}
		heard, stop := run(t, s)
		time.Sleep(36 * time.Second)
		stop()
		times := scripts[one.Endpoint.Addr()].times()
		var pauses []int
		for i := range times[1:] {
			pauses = append(pauses, int(times[i+1].Sub(times[i])/time.Second))
		}
		if want := []int{1, 1, 1, 2, 4, 8, 8, 8}; !slices.Equal(pauses, want) {
			t.Errorf("pauses of %v s, want %v", pauses, want)
		}
		c := s.Counts()
		if c.Failures[ReasonTimeout] != 5 || c.Failures[report.Malformed] != 4 || len(heard()) != 0 || c.Reports != 0 {
			t.Errorf("counts %+v, heard %v", c, heard())
		}
		if st, _ := s.Status(one.Key); st.Err == nil || st.Failures != 9 || !st.At.IsZero() {
			t.Errorf("status %+v", st)
		}
	})
}

func TestTargets(t *testing.T) {
	own := lb.Agent{Protocol: lb.AgentHAProxy, Port: 7}
	b := func(last byte) lb.Backend {
		return lb.Backend{Addr: netip.AddrFrom4([4]byte{10, 0, 0, last}), Port: 80}
	}
	second := b(2)
	second.Agent = &own
	got := Targets(lb.Config{Pools: []lb.Pool{
		{Name: "web", Agent: lb.Agent{Protocol: lb.AgentWeir, Port: 9707}, Backends: []lb.Backend{b(1), second}},
		{Name: "none", Backends: []lb.Backend{b(3)}},
	}})
	if len(got) != 2 || got[0].Agent.Port != 9707 || got[1].Agent != own || got[1].source().address != netip.MustParseAddrPort("10.0.0.2:7") {
		t.Errorf("targets %+v", got)
	}
}
