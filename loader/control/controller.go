package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"weir/loader/lb"
)

// Options are what a Controller needs. The zero value of each duration stands
// for the default that its comment names.
type Options struct {
	Config    lb.Config
	Overrides Overrides // of an earlier run, from LoadOverrides
	DataPlane DataPlane
	Hops      HopResolver
	Health    HealthChecker // nil: nothing is checked
	Agents    AgentListener // nil: nobody is asked
	Tier      Tier          // nil: no HTTP
	// Load reads the configuration again, for ReloadFile. Without it
	// ReloadFile fails.
	Load       func() (lb.Config, error)
	Log        *slog.Logger  // nil: nothing is logged
	SweepEvery time.Duration // 2 s
	StepEvery  time.Duration // how often time acts on weights; 1 s
	HopWait    time.Duration // longest wait for unknown next hops before Apply; 2 s
	HealthWait time.Duration // longest wait for first results of health checks; 3 s
	RetryFirst time.Duration // first pause after a failed Apply; 100 ms
	RetryLast  time.Duration // longest pause; 30 s
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Tier == nil {
		o.Tier = noTier{}
	}
	for d, def := range map[*time.Duration]time.Duration{
		&o.SweepEvery: 2 * time.Second, &o.StepEvery: time.Second, &o.HopWait: 2 * time.Second, &o.HealthWait: 3 * time.Second,
		&o.RetryFirst: 100 * time.Millisecond, &o.RetryLast: 30 * time.Second,
	} {
		if *d == 0 {
			*d = def
		}
	}
	return o
}

// Controller owns the data plane: the goroutine of Run is the only one that
// calls Apply and Sweep. Its other methods may be called from any goroutine.
type Controller struct {
	opts Options
	file overridesFile
	hub  *hub
	ops  chan op
	done chan struct{} // closed when Run has ended

	published chan struct{} // gets a value, coalesced, with each snapshot

	snapshot atomic.Pointer[Snapshot] // nil before the first Apply
	known    atomic.Pointer[hops]     // the last that were resolved
	stats    stats

	// Owned by the goroutine of Run.
	want       intent
	laws       *lawSet // what want.weights comes from
	have       desired // what the last successful Apply was given
	hops       *hops   // what is known now, nil if it must be asked anew
	retry      backoff
	retryTimer *time.Timer
	routine    bool  // what changes does so every second: too much for a log
	applyErr   error // of the last Apply, nil if it succeeded
	sweepErr   error
	loaded     time.Time // when want.config was accepted
}

// op is a change that the loop makes; err gets its outcome.
type op struct {
	do  func(context.Context) error
	err chan error
}

// New prepares a controller; nothing is started.
func New(o Options) *Controller {
	o = o.withDefaults()
	c := &Controller{
		opts: o, file: overridesIn(o.Config.StateDir), hub: newHub(),
		ops: make(chan op), done: make(chan struct{}), published: make(chan struct{}, 1),
		retry:      backoff{first: o.RetryFirst, last: o.RetryLast},
		retryTimer: time.NewTimer(time.Hour),
		loaded:     time.Now(),
	}
	c.retryTimer.Stop()
	c.want = newIntent(o.Config, c.keepKnown(o.Overrides, o.Config.Pools))
	return c
}

func (c *Controller) keepKnown(o Overrides, pools []lb.Pool) Overrides {
	kept, gone := o.lasting(time.Now()).keep(pools)
	for _, r := range gone {
		c.opts.Log.Warn("override dropped: its backend is not in the configuration", "backend", r.String(), "override", o[r].String())
	}
	return kept
}

// Run applies the configuration and then keeps the data plane equal to what
// is wanted, until ctx ends. It returns an error only if the first Apply
// fails; the data plane then holds what it held before.
func (c *Controller) Run(ctx context.Context) error {
	defer close(c.done)
	ctx, cancel := context.WithCancel(ctx)
	var pumping sync.WaitGroup
	defer pumping.Wait()
	defer cancel()
	if err := c.watch(c.want.config); err != nil {
		return err
	}
	c.awaitHops(ctx, c.want)
	c.awaitHealth(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err := c.firstWeights(); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	commit, discard, err := c.opts.Tier.Prepare(c.want.config)
	if err != nil {
		return fmt.Errorf("HTTP: %w", err)
	}
	if err := c.reconcile(c.want); err != nil {
		discard()
		return fmt.Errorf("applying the configuration: %w", err)
	}
	commit()
	c.announce(nil)
	c.opts.Log.Info("configuration in force", "services", len(c.want.config.Services), "pools", len(c.want.config.Pools))
	c.sweep()
	pumping.Go(func() { c.newPump().run(ctx) })
	c.loop(ctx)
	return nil
}

func (c *Controller) firstWeights() (err error) {
	now := time.Now()
	if c.laws, err = newLawSet(now, c.want.config, nil); err != nil {
		return err
	}
	c.laws.fill(now, c.want.overrides, c.want.health, c.result)
	c.tell(c.laws.stepAll(now))
	c.want.weights = c.laws.weights
	return nil
}

func (c *Controller) loop(ctx context.Context) {
	sweep := time.NewTicker(c.opts.SweepEvery)
	defer sweep.Stop()
	step := time.NewTicker(c.opts.StepEvery)
	defer step.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-c.ops:
			o.err <- o.do(ctx)
		case <-c.opts.Hops.Changes():
			c.hops = nil
			c.refresh()
		case <-c.healthChanges():
			c.healthChanged()
		case <-c.retryTimer.C:
			c.hops = nil
			c.refresh()
		case h := <-c.heard():
			c.hear(h)
		case <-sweep.C:
			c.sweep()
		case <-step.C:
			c.tick()
		}
	}
}

// do runs a change on the loop and waits for its outcome.
func (c *Controller) do(ctx context.Context, f func(context.Context) error) error {
	o := op{do: f, err: make(chan error, 1)}
	select {
	case c.ops <- o:
		return <-o.err
	case <-ctx.Done():
		return fmt.Errorf("nothing was changed: %w", ctx.Err())
	case <-c.done:
		return ErrStopped
	}
}

func (c *Controller) sweep() {
	use, err := c.opts.DataPlane.Sweep()
	if err != nil {
		if c.sweepErr == nil {
			c.opts.Log.Error("sweeping the flow table failed", "error", err)
		}
		c.sweepErr = err
		return
	}
	if c.sweepErr != nil {
		c.opts.Log.Info("sweeping the flow table works again")
	}
	c.sweepErr = nil
	c.stats.swept(use)
	c.suspect(use.Troubled)
}

func (c *Controller) newPump() *pump {
	return &pump{
		data: c.opts.DataPlane, hops: c.opts.Hops, hub: c.hub, log: c.opts.Log,
		sample: func() uint32 { return c.snapshot.Load().Config.EventSample },
		name:   func(e lb.Event) lb.Event { return c.snapshot.Load().nameService(e) },
		retry:  backoff{first: time.Second, last: 30 * time.Second},
	}
}

// Errors that callers tell apart. What a change was refused for is in the
// text of the error that wraps one of these.
var (
	ErrNotFound = errors.New("not found")
	ErrInvalid  = errors.New("not valid")
	ErrStopped  = errors.New("the daemon is stopping; nothing was changed")
)
