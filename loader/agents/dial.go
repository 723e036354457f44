package agents

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// dialTime is how long a connection may take that no question awaits any more.
const dialTime = 10 * time.Second

// dialing is a connection that is being made; kept and err are set when done is
// closed.
type dialing struct {
	cancel context.CancelFunc
	begun  atomic.Bool // its turn has come
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
			d.begun.Store(true)
			d.kept, d.err = connect(ctx, h.address, h.config)
		}
	}()
	return d
}

// late is why a question got no answer that waited for it until its end.
func (d *dialing) late(err error) error {
	if d.begun.Load() {
		return err
	}
	return &failure{ReasonLocal, errors.New("so many agents are connected to at once that its turn has not come")}
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

// handshakes is how many are begun in a second for each CPU: they take one to
// two milliseconds, so most of it is left for what has a connection.
const handshakes = 200

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
