package dataplane

import (
	"cmp"
	"slices"
	"sync/atomic"

	"weir/bpf"
	"weir/loader/lb"
)

const (
	limitShift   = 10 // limit_shift
	limitSecond  = uint32(bpf.WeirConstantLIMIT_SECOND)
	limitDebtMax = uint32(bpf.WeirConstantLIMIT_DEBT_MAX)

	ceilingShift  = uint32(bpf.WeirConstantCEILING_SHIFT)
	ceilingSecond = uint64(limitSecond) << ceilingShift
)

// limits takes over how many flows may be opened: at once, as more or fewer
// harm nobody if the rest of an Apply fails.
func (c *change) limits(s *service, w lb.Service) {
	raw := &c.d.mem.services[s.index]
	was := *raw
	if was.SourceRate == w.NewFlowsPerSource.Rate && was.SourceBurst == w.NewFlowsPerSource.Burst && was.FlowRate == w.MaxNewFlows {
		return
	}
	set := func(to bpf.WeirService) {
		atomic.StoreUint32(&raw.SourceBurst, to.SourceBurst)
		atomic.StoreUint32(&raw.SourceRate, to.SourceRate)
		atomic.StoreUint32(&raw.FlowRate, to.FlowRate)
	}
	set(bpf.WeirService{SourceRate: w.NewFlowsPerSource.Rate, SourceBurst: w.NewFlowsPerSource.Burst, FlowRate: w.MaxNewFlows})
	c.undo = append(c.undo, func() { set(was) })
}

// mss takes over the largest segment size that SYNs may state, likewise.
func (c *change) mss(s *service, w lb.Service) {
	raw := &c.d.mem.services[s.index]
	was := raw.Mss
	raw.Mss = w.MSS
	c.undo = append(c.undo, func() { raw.Mss = was })
}

// scanSources removes the words of sources that owe nothing any more: in an
// hour or so the clock comes round, and they would seem to.
func (p *pass) scanSources() {
	if !p.sources {
		return
	}
	now := limitNow(p.limitShift)
	for i := range p.mem.sources {
		for j := range p.mem.sources[i].Word {
			at := &p.mem.sources[i].Word[j]
			if word := atomic.LoadUint64(at); word != 0 && limitDebt(word, now) == 0 {
				atomic.CompareAndSwapUint64(at, word, 0)
			}
		}
	}
}

// serviceCounters are of the services that have, or had, an ACL or a limit.
func (d *DataPlane) serviceCounters() (all []lb.ServiceCounters) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.features.limits && !d.features.acl {
		return nil
	}
	for vip, s := range d.registry.services {
		c := lb.ServiceCounters{VIP: vip}
		for row := int(s.index); row < len(d.mem.drops); row += len(d.mem.services) {
			n := &d.mem.drops[row]
			c.ACL += atomic.LoadUint64(&n.Acl)
			c.NewFlowsPerSource += atomic.LoadUint64(&n.NewFlowsPerSource)
			c.MaxNewFlows += atomic.LoadUint64(&n.MaxNewFlows)
		}
		raw := &d.mem.services[s.index]
		if c != (lb.ServiceCounters{VIP: vip}) || d.acls.all.id != 0 || d.acls.services[s.index].id != 0 || raw.SourceRate > 0 || raw.FlowRate > 0 {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b lb.ServiceCounters) int { return cmp.Compare(a.VIP.String(), b.VIP.String()) })
	return all
}
