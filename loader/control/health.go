package control

import (
	"context"
	"maps"
	"slices"
	"time"

	"weir/loader/health"
	"weir/loader/lb"
)

// verdicts are the states of checked backends. A value is never changed once
// it is in use. Backends that are not in it are not checked.
type verdicts map[Ref]verdict

// verdict is the state of a backend and the check that it is by.
type verdict struct {
	state health.State
	by    health.Key
}

// beside are the backends of which the state differs from the other's.
func (v verdicts) beside(other verdicts) []Ref {
	var all []Ref
	for r, is := range v {
		if was, known := other[r]; !known || was.state != is.state {
			all = append(all, r)
		}
	}
	for r := range other {
		if _, known := v[r]; !known {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, Ref.Compare)
	return all
}

// verdicts asks the checker. A backend with several checks is up if all are.
func (c *Controller) verdicts() verdicts {
	if c.opts.Health == nil {
		return nil
	}
	all := verdicts{}
	for k, state := range c.opts.Health.States() {
		r := Ref{k.Pool, k.Endpoint}
		if other, known := all[r]; !known || other.state == health.Up {
			all[r] = verdict{state, k}
		}
	}
	return all
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
	before, now := c.want.health, time.Now()
	c.want.health = c.verdicts()
	touched := map[string]bool{}
	for _, r := range c.want.health.beside(before) {
		if law := c.laws.of(r.Pool); law != nil {
			law.SetHealth(now, r.Endpoint, c.want.health.health(r, c.result))
			touched[r.Pool] = true
		}
	}
	c.announce(before)
	changed, notices := c.laws.stepPools(now, touched)
	c.stepped(changed, notices)
	if !changed {
		c.publishIfReady() // who is down may be seen though nothing is done
	}
}

// suspect has backends probed soon that recent flows met trouble with: before
// their turn, where that is far. What the probe finds decides.
func (c *Controller) suspect(troubled []lb.Troubled) {
	if c.opts.Health == nil {
		return
	}
	for _, t := range troubled {
		i, known := c.want.vips[t.VIP.String()]
		if !known {
			continue
		}
		if v, checked := c.want.health[Ref{c.want.config.Services[i].Pool, t.Endpoint}]; checked {
			c.opts.Health.Suspect(v.by)
		}
	}
}

// announce tells of backends that went down or came back.
func (c *Controller) announce(before verdicts) {
	for _, r := range c.want.health.beside(before) {
		is, was := c.want.health[r].state, before[r].state
		if is == was || is == health.Unknown || is == health.Up && was == health.Unknown {
			continue
		}
		text := "backend " + r.String() + ": " + is.String()
		if is == health.Down {
			text += c.why(r)
		}
		c.opts.Log.Warn(text, "kind", KindBackend)
		c.hub.publish(lb.Event{Kind: KindBackend, Reason: is.String(), Backend: r.Endpoint.String(), Message: text})
	}
}

// why is the last failure of a backend's check, if it failed.
func (c *Controller) why(r Ref) string {
	s, known := c.opts.Health.Status(c.want.health[r].by)
	if !known || s.Err == nil {
		return ""
	}
	return ": " + s.Err.Error()
}

// result is how a backend's last check ended, for explanations.
func (c *Controller) result(r Ref) string {
	s, known := c.opts.Health.Status(c.want.health[r].by)
	switch {
	case !known:
		return "not checked"
	case s.Err != nil:
		return "last check: " + s.Err.Error()
	}
	return "last check succeeded"
}

// awaitHealth waits until each check has had a result, for HealthWait at most:
// tables that an earlier run left stay in force meanwhile.
func (c *Controller) awaitHealth(ctx context.Context) {
	late := time.NewTimer(c.opts.HealthWait)
	defer late.Stop()
	for {
		c.want.health = c.verdicts()
		if !slices.ContainsFunc(slices.Collect(maps.Values(c.want.health)), func(v verdict) bool { return v.state == health.Unknown }) {
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
