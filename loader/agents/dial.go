package agents

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// dialTime is how long a connection may take that no question awaits any more.
const dialTime = 10 * time.Second

// dialing is a connection that is being made; all but cancel is set when done
// is closed.
type dialing struct {
	cancel context.CancelFunc
	done   chan struct{}
	kept   *kept
	err    error
}

// dial begins to connect.
func (h *https) dial() *dialing {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	d := &dialing{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		defer cancel()
		if d.err = h.pace.await(ctx); d.err == nil {
			d.kept, d.err = connect(ctx, h.address, h.config)
		}
	}()
	return d
}

// failed reports whether it has come to nothing.
func (d *dialing) failed() bool {
	select {
	case <-d.done:
		return d.err != nil
	default:
		return false
	}
}

// handshakes is how many are begun in a second for each CPU: they take about a
// millisecond, so half of it is left for what has a connection.
const handshakes = 500

// pace spreads what would begin at once. It may be used by any goroutine.
type pace struct {
	every time.Duration
	mu    sync.Mutex
	next  time.Time
}

func newPace() *pace {
	return &pace{every: time.Second / time.Duration(handshakes*runtime.GOMAXPROCS(0))}
}

// await returns when it is the caller's turn.
func (p *pace) await(ctx context.Context) error {
	timer := time.NewTimer(p.turn(time.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// turn takes the next turn, and says how far it is.
func (p *pace) turn(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next.Before(now) {
		p.next = now
	}
	wait := p.next.Sub(now)
	p.next = p.next.Add(p.every)
	return wait
}
