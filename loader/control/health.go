package control

import (
	"context"
	"maps"
	"slices"
	"time"

	"weir/loader/health"
	"weir/loader/lb"
	"weir/loader/weight"
)

// panicThreshold is the part of a pool's weight that must be up for health to
// count. Where more has gone, the checks are likelier to be wrong than the
// backends, and the rest could not carry the load anyway.
const panicThreshold = 0.5

// verdicts are the states of checked backends. A value is never changed once
// it is in use. Backends that are not in it are not checked.
type verdicts map[Ref]health.State

// down reports whether a backend takes no new flows. One whose first probe has
// not ended yet takes none: that is soon.
func (v verdicts) down(r Ref) bool {
	state, checked := v[r]
	return checked && state != health.Up
}

// poolsBeside are the pools of which some verdict differs from the other's.
func (v verdicts) poolsBeside(other verdicts) map[string]bool {
	pools := map[string]bool{}
	for _, pair := range [][2]verdicts{{v, other}, {other, v}} {
		for r := range pair[0] {
			if pair[0].down(r) != pair[1].down(r) {
				pools[r.Pool] = true
			}
		}
	}
	return pools
}

// panics reports whether so much of a pool is down that health is ignored.
func (v verdicts) panics(p lb.Pool) bool {
	var up, sum float64
	for _, b := range p.Backends {
		sum += float64(b.Weight)
		if !v.down(Ref{p.Name, b.Endpoint()}) {
			up += float64(b.Weight)
		}
	}
	return up < panicThreshold*sum
}

// factors are what health makes of a backend's weight.
func (v verdicts) factors(r Ref, panics bool) []weight.Factor {
	if panics || !v.down(r) {
		return nil
	}
	return []weight.Factor{0}
}

// verdicts asks the checker. A backend with several checks is up if all are.
func (c *Controller) verdicts() verdicts {
	if c.opts.Health == nil {
		return nil
	}
	all := verdicts{}
	for k, state := range c.opts.Health.States() {
		r := Ref{k.Pool, k.Endpoint}
		if other, known := all[r]; !known || other == health.Up {
			all[r] = state
		}
	}
	return all
}

// watch makes the checker check what a configuration says.
func (c *Controller) watch(cfg lb.Config) error {
	if c.opts.Health == nil {
		return nil
	}
	return c.opts.Health.Watch(health.Targets(cfg))
}

// healthChanges never has a value without a checker.
func (c *Controller) healthChanges() <-chan struct{} {
	if c.opts.Health == nil {
		return nil
	}
	return c.opts.Health.Changes()
}

// healthChanged takes over what the checker says now.
func (c *Controller) healthChanged() {
	before := c.want.health
	c.want.health = c.verdicts()
	c.announce(before)
	if len(c.want.health.poolsBeside(before)) > 0 {
		c.refresh()
	}
}

// announce tells of backends that went down or came back.
func (c *Controller) announce(before verdicts) {
	for _, r := range slices.SortedFunc(maps.Keys(c.want.health), Ref.compare) {
		is, was := c.want.health[r], before[r]
		if is == was || is == health.Unknown || is == health.Up && was == health.Unknown {
			continue
		}
		text := "backend " + r.String() + ": " + is.String() + c.why(r)
		c.opts.Log.Warn(text, "kind", KindBackend)
		c.hub.publish(lb.Event{Kind: KindBackend, Reason: is.String(), Backend: r.Endpoint.String(), Message: text})
	}
}

// why is the last failure of a backend's check, if it failed.
func (c *Controller) why(r Ref) string {
	s, known := c.opts.Health.Status(health.Key{Pool: r.Pool, Endpoint: r.Endpoint})
	if !known || s.Err == nil {
		return ""
	}
	return ": " + s.Err.Error()
}

// awaitHealth waits until each check has had a result, for HealthWait at most:
// tables that an earlier run left stay in force meanwhile.
func (c *Controller) awaitHealth(ctx context.Context) {
	late := time.NewTimer(c.opts.HealthWait)
	defer late.Stop()
	for {
		c.want.health = c.verdicts()
		if !slices.Contains(slices.Collect(maps.Values(c.want.health)), health.Unknown) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			return
		case <-c.healthChanges():
		}
	}
}
