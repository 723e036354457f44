package health

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/loader/lb"
)

// fake is a backend whose health the test sets.
type fake struct {
	mu      sync.Mutex
	err     error
	hangs   bool
	began   []time.Time
	running int
	most    int
}

func (f *fake) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fake) begin() (error, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.began = append(f.began, time.Now())
	f.running++
	f.most = max(f.most, f.running)
	return f.err, f.hangs
}

// mostAtOnce is how many probes ran at once.
func (f *fake) mostAtOnce() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most
}

func (f *fake) probes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.began)
}

func (f *fake) Check(ctx context.Context) (Report, error) {
	err, hangs := f.begin()
	if hangs {
		<-ctx.Done()
		err = failed("read", ctx.Err(), ReasonMalformed)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running--
	return Report{}, err
}

func key(i int) Key {
	return Key{Pool: "web", Endpoint: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80)}
}

func target(i int, h lb.Health) Target {
	return Target{Key: key(i), Address: key(i).Endpoint, Health: h}
}

// inSet runs a test in virtual time on a set whose targets are all the fake.
func inSet(t *testing.T, f *fake, o Options, test func(t *testing.T, s *Set)) {
	synctest.Test(t, func(t *testing.T) {
		o.Open = func(Target) (Checker, error) { return f, nil }
		o.Seed = 1
		s := NewSet(o)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		test(t, s)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func watch(t *testing.T, s *Set, targets ...Target) {
	t.Helper()
	if err := s.Watch(targets); err != nil {
		t.Fatal(err)
	}
}

// awaitState fails if a state is not reached in time, and says how long it took.
func awaitState(t *testing.T, s *Set, k Key, want State, most time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	for s.States()[k] != want {
		if time.Since(start) > most {
			t.Fatalf("%s is %s after %s, want %s", k, s.States()[k], most, want)
		}
		time.Sleep(tick)
	}
	return time.Since(start)
}

var errBroken = failed("connect", errors.New("broken"), ReasonRefused)

func TestDownAndUpInTime(t *testing.T) {
	h := every(time.Second)
	f := &fake{}
	inSet(t, f, Options{}, func(t *testing.T, s *Set) {
		watch(t, s, target(1, h))
		awaitState(t, s, key(1), Up, firstRound+tick)
		for i := range 20 {
			time.Sleep(time.Duration(i) * 47 * time.Millisecond)
			f.set(errBroken)
			took := awaitState(t, s, key(1), Down, time.Duration(h.Fall)*h.Interval+time.Second/2)
			if took > 1050*time.Millisecond+2*270*time.Millisecond {
				t.Errorf("down after %s; the fast interval was not kept", took)
			}
			f.set(nil)
			awaitState(t, s, key(1), Up, flapHoldMax+2*h.Interval)
			time.Sleep(flapWindow)
		}
	})
}

func TestHangingBackendTimesOut(t *testing.T) {
	h := every(time.Second)
	f := &fake{}
	inSet(t, f, Options{}, func(t *testing.T, s *Set) {
		watch(t, s, target(1, h))
		awaitState(t, s, key(1), Up, firstRound+tick)
		f.mu.Lock()
		f.hangs = true
		f.mu.Unlock()
		awaitState(t, s, key(1), Down, 1050*time.Millisecond+3*h.Timeout+20*time.Millisecond)
		st, _ := s.Status(key(1))
		if got := st.Err.Error(); got != "read: no answer in time" {
			t.Errorf("last error %q", got)
		}
		if c := s.Counts(); c.Failures[ReasonTimeout] < 3 {
			t.Errorf("counted %v", c.Failures)
		}
	})
}

func TestAtMostOneProbePerTargetAndConcurrency(t *testing.T) {
	h := every(time.Second)
	h.Timeout = 3 * time.Second
	f := &fake{hangs: true}
	inSet(t, f, Options{Concurrency: 10}, func(t *testing.T, s *Set) {
		var all []Target
		for i := range 100 {
			all = append(all, target(i, h))
		}
		watch(t, s, all...)
		time.Sleep(31 * time.Second)
		if got := f.mostAtOnce(); got != 10 {
			t.Errorf("%d probes at once, want 10", got)
		}
		for k, state := range s.States() {
			if state != Down {
				t.Errorf("%s is %s: targets must get their turn", k, state)
			}
		}
		if c := s.Counts(); c.Late < 50 {
			t.Errorf("counted %d late probes", c.Late)
		}
	})
	f = &fake{hangs: true}
	inSet(t, f, Options{}, func(t *testing.T, s *Set) {
		watch(t, s, target(1, h))
		time.Sleep(30 * time.Second)
		if got := f.mostAtOnce(); got != 1 {
			t.Errorf("%d probes of one target at once", got)
		}
	})
}

func TestSuspectMakesAProbeSoon(t *testing.T) {
	h := every(20 * time.Second)
	f := &fake{}
	inSet(t, f, Options{}, func(t *testing.T, s *Set) {
		watch(t, s, target(1, h))
		awaitState(t, s, key(1), Up, firstRound+tick)
		time.Sleep(6 * time.Second)
		before := f.probes()
		s.Suspect(key(1))
		time.Sleep(2 * tick)
		if got := f.probes(); got != before+1 {
			t.Errorf("%d probes, want one more than %d", got, before)
		}
		for range 1000 { // suspicion does not make a storm
			s.Suspect(key(1))
			time.Sleep(time.Millisecond)
		}
		if got := f.probes(); got != before+1 {
			t.Errorf("%d probes within the fast interval of %s, want one more than %d", got, h.FastInterval, before)
		}
		s.Suspect(key(2)) // nobody
		if s.States()[key(1)] != Up {
			t.Error("suspicion alone took it down")
		}
	})
}

func TestWatchKeepsWhatStays(t *testing.T) {
	h := every(time.Second)
	f := &fake{err: errBroken}
	inSet(t, f, Options{}, func(t *testing.T, s *Set) {
		watch(t, s, target(1, h), target(2, h))
		awaitState(t, s, key(1), Down, firstRound+tick)
		awaitState(t, s, key(2), Down, firstRound+tick)
		slower := h
		slower.Interval, slower.Rise = 4*time.Second, 5
		watch(t, s, target(1, slower), target(3, h))
		want := map[Key]State{key(1): Down, key(3): Unknown}
		if got := s.States(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("states %v, want %v", got, want)
		}
		f.set(nil)
		awaitState(t, s, key(3), Up, firstRound+tick)
		if st, _ := s.Status(key(1)); st.State != Down {
			t.Errorf("up after fewer than rise successes")
		}
		awaitState(t, s, key(1), Up, time.Minute)
		if _, known := s.Status(key(2)); known {
			t.Error("a target that is no longer watched is known")
		}
		watch(t, s)
		before := f.probes()
		time.Sleep(time.Minute)
		if got := f.probes(); got != before {
			t.Errorf("%d probes of nothing", got-before)
		}
	})
}

func TestRefusedWatchChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(Options{Open: func(t Target) (Checker, error) {
			if t.Key == key(9) {
				return nil, errors.New("bad expression")
			}
			return &fake{}, nil
		}})
		watch(t, s, target(1, every(time.Second)))
		err := s.Watch([]Target{target(2, every(time.Second)), target(9, every(time.Second))})
		if err == nil || err.Error() != "health check of web/10.0.0.9:80: bad expression" {
			t.Errorf("error %v", err)
		}
		err = s.Watch([]Target{target(2, every(time.Second)), target(2, every(time.Second))})
		if err == nil || !strings.Contains(err.Error(), "there are two") {
			t.Errorf("error %v", err)
		}
		if got := s.States(); len(got) != 1 || got[key(1)] != Unknown {
			t.Errorf("states %v", got)
		}
	})
}

// EMFILE and the like are no verdict about the backend.
func TestLocalFailureDecidesNothing(t *testing.T) {
	f := &fake{}
	inSet(t, f, Options{}, func(t *testing.T, s *Set) {
		watch(t, s, target(1, every(time.Second)))
		awaitState(t, s, key(1), Up, firstRound+tick)
		f.set(&Failure{Reason: ReasonLocal, Doing: "open a socket", Err: errors.New("too many open files")})
		time.Sleep(time.Minute)
		if got := s.States()[key(1)]; got != Up {
			t.Errorf("state %s", got)
		}
		if c := s.Counts(); c.Failures[ReasonLocal] < 50 {
			t.Errorf("counted %v", c.Failures)
		}
	})
}

func TestChangesAreAnnounced(t *testing.T) {
	f := &fake{}
	inSet(t, f, Options{}, func(t *testing.T, s *Set) {
		watch(t, s, target(1, every(time.Second)))
		<-s.Changes() // the watch
		<-s.Changes() // the first verdict
		f.set(errBroken)
		<-s.Changes()
		if got := s.States()[key(1)]; got != Down {
			t.Errorf("state %s after a change", got)
		}
	})
}
