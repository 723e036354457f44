package control

import (
	"time"

	"weir/loader/lb"
	"weir/loader/weight"
)

// tick lets time act on the weights that it moves.
func (c *Controller) tick() {
	if len(c.laws.restless) == 0 {
		return
	}
	now := time.Now()
	c.feedTraffic(now)
	changed, notices := c.laws.stepRestless(now)
	c.routine = true
	c.stepped(changed, notices)
	c.routine = false
}

// stepped makes what the laws came to wanted, and tells their notices.
func (c *Controller) stepped(changed bool, notices []poolNotice) {
	c.want.weights = c.laws.weights
	c.tell(notices)
	if changed {
		c.refresh()
	}
}

// tell passes notices on, and acts on those of overrides that have ended.
func (c *Controller) tell(notices []poolNotice) {
	c.dropExpired(notices)
	for _, n := range notices {
		e := n.event()
		c.opts.Log.Warn(e.Message, "kind", e.Kind, "reason", e.Reason)
		c.hub.publish(e)
	}
}

// dropExpired forgets the overrides of which a law says that they have ended.
func (c *Controller) dropExpired(notices []poolNotice) {
	kept := c.want.overrides
	for _, n := range notices {
		if n.Kind == weight.OverrideExpired {
			kept = kept.without(Ref{n.pool, n.Endpoint})
		}
	}
	if len(kept) == len(c.want.overrides) {
		return
	}
	c.want.overrides = kept
	c.publishIfReady()
	if err := c.file.save(kept); err != nil {
		c.opts.Log.Warn("an expired override stays in the file; the next start drops it", "error", err)
	}
}

// feedTraffic tells the laws that follow reports what was counted for their
// backends.
func (c *Controller) feedTraffic(now time.Time) {
	fed := map[string]*weight.Pool{}
	var vips []lb.VIP
	for i := range c.laws.restless {
		if p := c.laws.pools[i]; p.Law.Mode != lb.ModeStatic {
			fed[p.Name] = c.laws.laws[i]
		}
	}
	if len(fed) == 0 {
		return
	}
	pools := map[lb.VIP]string{}
	for _, s := range c.want.config.Services {
		if fed[s.Pool] != nil {
			vips, pools[s.VIP] = append(vips, s.VIP), s.Pool
		}
	}
	sums := map[Ref]weight.Traffic{}
	for _, b := range c.opts.DataPlane.BackendCounters(vips) {
		r := Ref{pools[b.VIP], b.Endpoint}
		t := sums[r]
		t.Packets, t.Flows, t.Active = t.Packets+b.Packets, t.Flows+b.Flows, t.Active+b.Active
		sums[r] = t
	}
	for r, t := range sums {
		fed[r.Pool].Traffic(now, r.Endpoint, t)
	}
}
