package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/loader/lb"
	"weir/loader/weight"
)

// Override puts an operator's weight in place of a backend's, or drains it:
// then it gets no new flows, and those it has finish. Like every change it
// returns when the data plane holds it, or with an error that says what did
// not happen, and it outlives the daemon.
func (c *Controller) Override(ctx context.Context, r Ref, o weight.Override) error {
	o.Until = o.Until.Round(0).UTC() // as it is read back from the file
	if err := checkOverride(o); err != nil {
		return &refusal{ErrInvalid, err.Error()}
	}
	if o.Expired(time.Now()) {
		return &refusal{ErrInvalid, "the override would have ended already"}
	}
	return c.override(ctx, r, func(all Overrides) Overrides { return all.with(r, o) })
}

// Ready removes the override of a backend: its configured weight counts again.
func (c *Controller) Ready(ctx context.Context, r Ref) error {
	return c.override(ctx, r, func(o Overrides) Overrides { return o.without(r) })
}

func (c *Controller) override(ctx context.Context, r Ref, change func(Overrides) Overrides) error {
	return c.do(ctx, func(context.Context) error {
		if err := findBackend(c.want.config.Pools, r); err != nil {
			return err
		}
		return c.persistAndApply(r, change(c.want.overrides))
	})
}

// persistAndApply saves first: whoever saw the change take effect finds it
// again after a crash.
func (c *Controller) persistAndApply(r Ref, next Overrides) error {
	if err := c.file.save(next); err != nil {
		return fmt.Errorf("backend %s not changed: %w", r, err)
	}
	want := c.want
	notices := c.stepOverride(r, next)
	want.overrides, want.weights = next, c.laws.weights
	err := c.reconcile(want)
	if err == nil {
		c.tell(notices)
		return nil
	}
	err = fmt.Errorf("backend %s not changed: %w", r, err)
	undo := c.file.save(c.want.overrides)
	c.stepped(true, append(notices, c.stepOverride(r, c.want.overrides)...))
	if undo != nil {
		return fmt.Errorf("%w; and its old override could not be saved again, so a restart would apply the new one: %w", err, undo)
	}
	return err
}

// stepOverride lets a law act on the override that a backend has among these.
func (c *Controller) stepOverride(r Ref, o Overrides) []poolNotice {
	c.laws.of(r.Pool).SetOverride(r.Endpoint, o.get(r))
	_, notices := c.laws.stepPools(time.Now(), map[string]bool{r.Pool: true})
	return notices
}

func findBackend(pools []lb.Pool, r Ref) error {
	i := slices.IndexFunc(pools, func(p lb.Pool) bool { return p.Name == r.Pool })
	if i < 0 {
		return &refusal{ErrNotFound, fmt.Sprintf("pool %q does not exist; there are: %s", r.Pool, poolNames(pools))}
	}
	for _, b := range pools[i].Backends {
		if b.Endpoint() == r.Endpoint {
			return nil
		}
	}
	return &refusal{ErrNotFound, fmt.Sprintf("pool %s has no backend %s", r.Pool, r.Endpoint)}
}

func poolNames(pools []lb.Pool) string {
	if len(pools) == 0 {
		return "none"
	}
	names := make([]string, len(pools))
	for i, p := range pools {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}

// ReloadFile reads the configuration again and applies it.
func (c *Controller) ReloadFile(ctx context.Context) error {
	if c.opts.Load == nil {
		return errors.New("this daemon has no configuration file to read again")
	}
	next, err := c.opts.Load()
	if err != nil {
		c.refused(err)
		return &refusal{ErrInvalid, err.Error()}
	}
	return c.Reload(ctx, next)
}

// Reload replaces the configuration. One that cannot be applied is refused
// whole, and the old one stays in force.
func (c *Controller) Reload(ctx context.Context, next lb.Config) error {
	err := c.do(ctx, func(ctx context.Context) error { return c.reload(ctx, next) })
	if err != nil {
		c.refused(err)
		return err
	}
	c.stats.reloaded(true)
	return nil
}

func (c *Controller) reload(ctx context.Context, next lb.Config) error {
	if err := checkReload(c.want.config, next); err != nil {
		return &refusal{ErrInvalid, err.Error()}
	}
	old := c.want
	want := newIntent(next, c.keepKnown(old.overrides, next.Pools))
	laws, err := newLawSet(time.Now(), next, c.laws)
	if err != nil {
		return &refusal{ErrInvalid, err.Error()}
	}
	commit, discard, err := c.opts.Tier.Prepare(next)
	if err != nil {
		return &refusal{ErrInvalid, "HTTP: " + err.Error()}
	}
	if err := c.watch(next); err != nil {
		discard()
		return &refusal{ErrInvalid, err.Error()}
	}
	if hasNew(old.addrs, want.addrs) {
		c.awaitHops(ctx, want)
	}
	want.health = c.verdicts()
	laws.fill(time.Now(), want.overrides, want.health, c.result)
	notices := laws.stepAll(time.Now())
	want.weights = laws.weights
	if err := c.replaceConfig(want); err != nil {
		discard()
		if undo := c.watch(old.config); undo != nil {
			err = fmt.Errorf("%w; and health checks could not be undone: %w", err, undo)
		}
		return fmt.Errorf("the old configuration stays in force: %w", err)
	}
	commit()
	c.laws = laws
	c.tell(notices)
	c.configLoaded()
	if len(want.overrides) != len(old.overrides) {
		c.saveKept(want.overrides)
	}
	return nil
}

// replaceConfig undoes the first step if the second fails.
func (c *Controller) replaceConfig(want intent) error {
	if err := c.opts.DataPlane.Configure(want.config); err != nil {
		return err
	}
	old, loaded := c.want, c.loaded
	c.loaded = time.Now()
	err := c.reconcile(want)
	if err == nil {
		return nil
	}
	c.loaded = loaded
	if undo := c.opts.DataPlane.Configure(old.config); undo != nil {
		err = fmt.Errorf("%w; and part of it could not be undone: %w", err, undo)
	}
	c.refresh()
	return err
}

func (c *Controller) saveKept(o Overrides) {
	if err := c.file.save(o); err != nil {
		c.opts.Log.Warn("overrides of removed backends stay in the file", "error", err)
	}
}

func (c *Controller) configLoaded() {
	c.opts.Log.Info("configuration loaded")
	c.hub.publish(lb.Event{Kind: KindConfig, Reason: "loaded",
		Message: fmt.Sprintf("configuration loaded: %d services, %d pools", len(c.want.config.Services), len(c.want.config.Pools))})
	c.hub.poke() // the sampling may have changed
}

func (c *Controller) refused(err error) {
	c.stats.reloaded(false)
	c.opts.Log.Error("configuration refused; the old one stays in force", "error", err)
	c.hub.publish(lb.Event{Kind: KindConfig, Reason: "refused", Message: err.Error()})
}

// checkReload refuses changes of what is fixed when the daemon starts.
func checkReload(old, next lb.Config) error {
	for _, f := range []struct {
		name   string
		same   bool
		remedy string
	}{
		{"xdp_mode", old.XDPMode == next.XDPMode, unload},
		{"pin_dir", old.PinDir == next.PinDir, unload},
		{"socket", old.Socket == next.Socket, restart},
		{"state_dir", old.StateDir == next.StateDir, restart},
	} {
		if !f.same {
			return fmt.Errorf("%s cannot change while the daemon runs: %s", f.name, f.remedy)
		}
	}
	return nil
}

const (
	restart = "restart the daemon, flows survive that"
	unload  = "stop the daemon, run `weir unload`, which ends flows, and start it again"
)

// hasNew reports whether next has an address that old has not; both are
// sorted.
func hasNew(old, next []netip.Addr) bool {
	return slices.ContainsFunc(next, func(a netip.Addr) bool {
		_, known := slices.BinarySearchFunc(old, a, netip.Addr.Compare)
		return !known
	})
}

// refusal is an error with a text of its own that is also one of the
// package's Err values.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }
