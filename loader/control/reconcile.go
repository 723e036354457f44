package control

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"weir/loader/lb"
)

// refresh applies what is already wanted, after next hops changed or an Apply
// failed.
func (c *Controller) refresh() {
	if err := c.reconcile(c.want); err != nil {
		c.opts.Log.Error("data plane not up to date", "error", err, "retry_in", c.retry.wait)
	}
}

// reconcile makes the data plane hold want. On success want is what is
// wanted from now on; on error a retry of what was wanted before is due.
func (c *Controller) reconcile(want intent) error {
	next, err := c.derive(want)
	if err == nil {
		err = c.apply(next)
	}
	if err != nil {
		c.failed(err)
		return err
	}
	c.succeeded(next)
	return nil
}

func (c *Controller) derive(want intent) (desired, error) {
	hops, err := c.resolve(want)
	if err != nil {
		return desired{}, fmt.Errorf("resolving next hops: %w", err)
	}
	return derive(want, hops, c.have)
}

// resolve asks only for what may have changed: a resolver announces that.
func (c *Controller) resolve(want intent) (*hops, error) {
	if c.hops != nil && sameMemory(c.hops.addrs, want.addrs) {
		return c.hops, nil
	}
	c.hops = nil
	known, err := c.opts.Hops.Resolve(want.addrs)
	if err != nil {
		return nil, err
	}
	c.hops = &hops{addrs: want.addrs, known: known, vlans: c.opts.Hops.VLANs()}
	c.known.Store(c.hops)
	return c.hops, nil
}

// apply leaves out what would change nothing.
func (c *Controller) apply(next desired) error {
	if c.applyErr == nil && c.snapshot.Load() != nil && sameState(next.state, c.have.state) {
		return nil
	}
	start := time.Now()
	err := c.opts.DataPlane.Apply(next.state)
	c.stats.applied(time.Since(start), err)
	return err
}

func (c *Controller) failed(err error) {
	if c.applyErr == nil {
		c.hub.publish(lb.Event{Kind: KindApply, Reason: "failed", Message: err.Error()})
	}
	c.applyErr = err
	c.retryTimer.Reset(c.retry.next())
	c.publishIfReady()
}

func (c *Controller) publishIfReady() {
	if c.snapshot.Load() != nil {
		c.publish()
	}
}

func (c *Controller) succeeded(next desired) {
	if c.applyErr != nil {
		c.applyErr = nil
		c.opts.Log.Info("data plane up to date again")
		c.hub.publish(lb.Event{Kind: KindApply, Reason: "recovered"})
	}
	c.retry.reset()
	c.retryTimer.Stop()
	first := c.snapshot.Load() == nil
	before := c.have
	c.want, c.have = next.want, next
	c.publish()
	if first {
		return
	}
	level := slog.LevelInfo
	if c.routine {
		level = slog.LevelDebug
	}
	for _, e := range changes(before, next) {
		c.opts.Log.Log(context.Background(), level, e.Message, "kind", e.Kind)
		c.hub.publish(e)
	}
}

// awaitHops waits until the next hops that want needs are known, for HopWait
// at most: a new backend's first packets would be dropped without.
func (c *Controller) awaitHops(ctx context.Context, want intent) {
	late := time.NewTimer(c.opts.HopWait)
	defer late.Stop()
	for {
		hops, err := c.resolve(want)
		if err != nil || hops.complete() {
			return // the next reconcile reports the error
		}
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			return
		case <-c.opts.Hops.Changes():
			c.hops = nil
		}
	}
}

func (h *hops) complete() bool {
	for _, a := range h.addrs {
		if !h.known[a].Resolved() {
			return false
		}
	}
	return true
}
