package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load drives requests until it is stopped, and counts what comes back.
type load struct {
	lab      *lab
	stopping context.Context
	stop     func() // waits for the requests under way
	requests atomic.Uint64
	failed   atomic.Uint64
	slowest  atomic.Int64           // ns
	first    atomic.Pointer[string] // failure
}

// mix is how many workers a load has of each kind.
type mix struct {
	oneShot   int // a connection per request
	keepAlive int // 50 requests per connection
	held      int // one connection for the whole load
}

// everything is the mix that tests of survival use.
func everything() mix { return mix{oneShot: 4, keepAlive: 2, held: 6} }

const (
	keepAliveRequests = 50
	heldPause         = 5 * time.Millisecond // between requests
)

func (l *lab) load(t *testing.T, m mix) *load {
	ctx, cancel := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	d := &load{lab: l, stopping: ctx}
	d.stop = func() { cancel(); workers.Wait() }
	t.Cleanup(d.stop)
	worker := 0
	for _, kind := range []struct {
		workers, requests int
		pause             time.Duration
	}{
		{m.oneShot, 1, 0}, {m.keepAlive, keepAliveRequests, 0}, {m.held, 1 << 40, heldPause},
	} {
		for range kind.workers {
			source := worker
			worker++
			workers.Go(func() { d.work(source, kind.requests, kind.pause) })
		}
	}
	return d
}

func (d *load) work(worker, requests int, pause time.Duration) {
	err := d.lab.Client.Do(func() error {
		sources := d.lab.ClientAddrs
		for n := worker; d.stopping.Err() == nil; n++ {
			if err := d.connection(sources[n%len(sources)], requests, pause); err != nil {
				d.fail(err)
			}
		}
		return nil
	})
	if err != nil {
		d.fail(err)
	}
}

// connection makes requests one after the other on one connection, which must
// all be answered by the same server.
func (d *load) connection(from netip.Addr, requests int, pause time.Duration) error {
	start := time.Now()
	c, err := dial(context.Background(), from, d.lab.config.endpoint())
	if err != nil {
		d.requests.Add(1)
		return err
	}
	defer c.Close()
	first := ""
	for left := requests; left > 0 && (left == requests || d.stopping.Err() == nil); left-- {
		d.requests.Add(1)
		who, err := c.ask()
		if err != nil {
			return fmt.Errorf("request %d of a connection from %s to %s: %w", requests-left+1, c.LocalAddr(), first, err)
		}
		if first != "" && who != first {
			return fmt.Errorf("a connection to %s was answered by %q", first, who)
		}
		first = who
		d.took(time.Since(start))
		d.rest(pause)
		start = time.Now()
	}
	return nil
}

func (d *load) rest(pause time.Duration) {
	if pause == 0 {
		return
	}
	select {
	case <-d.stopping.Done():
	case <-time.After(pause):
	}
}

func (d *load) took(x time.Duration) {
	for old := d.slowest.Load(); int64(x) > old && !d.slowest.CompareAndSwap(old, int64(x)); {
		old = d.slowest.Load()
	}
}

func (d *load) fail(err error) {
	d.failed.Add(1)
	text := time.Now().Format("15:04:05.000 ") + err.Error()
	d.first.CompareAndSwap(nil, &text)
	d.rest(20 * time.Millisecond) // what is down shall not be hammered
}

// unfailed ends the test if any request failed.
func (d *load) unfailed(t *testing.T, when string) {
	t.Helper()
	if n := d.failed.Load(); n > 0 {
		t.Fatalf("%s: %d of %d requests failed, the first: %s", when, n, d.requests.Load(), *d.first.Load())
	}
}

// finish stops the load and ends the test if any request failed.
func (d *load) finish(t *testing.T, when string) {
	t.Helper()
	d.stop()
	d.unfailed(t, when)
	t.Logf("%s: %d requests, 0 failed, the slowest took %s", when, d.requests.Load(), time.Duration(d.slowest.Load()).Round(time.Microsecond))
}

// more waits until there were so many more requests.
func (d *load) more(t *testing.T, n uint64) {
	t.Helper()
	want := d.requests.Load() + n
	eventually(t, 20*time.Second, fmt.Sprintf("%d more requests", n), yes(func() bool { return d.requests.Load() >= want }))
}
