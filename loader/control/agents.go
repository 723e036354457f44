package control

import (
	"fmt"

	"weir/loader/agents"
	"weir/loader/health"
	"weir/loader/lb"
	"weir/loader/weight"
)

// watch makes checker and listener follow what a configuration says. On an
// error both follow what is wanted now.
func (c *Controller) watch(cfg lb.Config) error {
	if c.opts.Agents != nil {
		if err := c.opts.Agents.Watch(agents.Targets(cfg)); err != nil {
			return err
		}
	}
	if c.opts.Health == nil {
		return nil
	}
	err := c.opts.Health.Watch(health.Targets(cfg))
	if err == nil || c.opts.Agents == nil {
		return err
	}
	if undo := c.opts.Agents.Watch(agents.Targets(c.want.config)); undo != nil {
		return fmt.Errorf("%w; and agents could not be undone: %w", err, undo)
	}
	return err
}

// heard never has a value without a listener.
func (c *Controller) heard() <-chan agents.Heard {
	if c.opts.Agents == nil {
		return nil
	}
	return c.opts.Agents.Heard()
}

// hear gives a report to the law of its backend's pool; the next step acts on
// it. A backend that has gone meanwhile has none.
func (c *Controller) hear(h agents.Heard) {
	i, known := c.laws.index[h.Pool]
	if !known {
		return
	}
	err := c.laws.laws[i].Report(h.At, h.Endpoint, h.Report)
	if refused, is := err.(*weight.RefusedError); is { //nolint:errorlint // Report gives no other
		c.opts.Log.Debug("report refused", "backend", Ref{h.Pool, h.Endpoint}.String(), "error", err)
		c.stats.refused(refused.Why)
		return
	}
	c.laws.restless[i] = true
}

// Agent is what is known of a backend's agent, and false if it has none.
func (c *Controller) Agent(r Ref) (agents.Status, bool) {
	if c.opts.Agents == nil {
		return agents.Status{}, false
	}
	return c.opts.Agents.Status(agents.Key{Pool: r.Pool, Endpoint: r.Endpoint})
}

// AgentCounts are what was heard. Failures count the reports that laws refused,
// too.
func (c *Controller) AgentCounts() agents.Counts {
	if c.opts.Agents == nil {
		return agents.Counts{}
	}
	counts := c.opts.Agents.Counts()
	all := map[agents.Reason]uint64{}
	for why, n := range counts.Failures {
		all[why] += n
	}
	for why, n := range c.Stats().ReportsRefused {
		all[agents.Reason(why)] += n
	}
	counts.Failures = all
	return counts
}
