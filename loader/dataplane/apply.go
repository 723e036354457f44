package dataplane

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"weir/bpf"
	"weir/loader/lb"
)

// change is one Apply under way. Preparing writes only what no packet refers
// to yet and can be undone; committing cannot fail half way in a way that a
// packet could see, as each service changes by one store.
type change struct {
	d      *DataPlane
	r      *registry
	want   lb.State
	tables map[int]uint32 // want.Tables index -> arena offset
	undo   []func()
	commit []func() error
	nat    bool // the set of NAT backends changed
}

// Apply makes the kernel hold exactly this state. New backends and tables are
// written first, then each service is switched by one 64-bit store, then what
// is no longer wanted is retired: its flows finish, and Sweep frees it. An
// error before the switch leaves everything as it was.
func (d *DataPlane) Apply(want lb.State) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.nat && wantsNAT(want) {
		if err := d.replaceProgram(true, d.config); err != nil {
			return err
		}
	}
	c := &change{d: d, r: d.registry, want: want, tables: map[int]uint32{}}
	if err := c.prepare(); err != nil {
		for _, f := range slices.Backward(c.undo) {
			f()
		}
		return errors.Join(err, d.syncReals())
	}
	var errs []error
	for _, f := range c.commit {
		errs = append(errs, f())
	}
	return errors.Join(append(errs, c.retire(), d.syncMarks())...)
}

func wantsNAT(s lb.State) bool {
	return slices.ContainsFunc(s.Services, func(s lb.ServiceState) bool { return s.Service.Forward.Translates() })
}

func (c *change) prepare() error {
	seen := map[lb.VIP]bool{}
	for i := range c.want.Services {
		w := &c.want.Services[i]
		if seen[w.Service.VIP] {
			return fmt.Errorf("service %s: VIP %s is used twice", w.Service.Name, w.Service.VIP)
		}
		seen[w.Service.VIP] = true
		if err := c.prepareService(w); err != nil {
			return fmt.Errorf("service %s: %w", w.Service.Name, err)
		}
	}
	if !c.nat {
		return nil
	}
	return c.d.syncReals()
}

func (c *change) prepareService(w *lb.ServiceState) error {
	s, err := c.service(w.Service)
	if err != nil {
		return err
	}
	ids := make([]uint32, len(w.Backends))
	for i, b := range w.Backends {
		if ids[i], err = c.backend(s, w.Service.Forward, b); err != nil {
			return fmt.Errorf("backend %s: %w", b.Endpoint, err)
		}
	}
	members, err := c.region(s.members, uint32(len(ids)), ids)
	if err != nil {
		return err
	}
	table, slots, err := c.table(s, w)
	if err != nil {
		return err
	}
	c.commit = append(c.commit, func() error {
		return c.d.publish(s, w.Service.Forward, table, members, slots)
	})
	return nil
}

// service finds the VIP's entry or takes a free one.
func (c *change) service(w lb.Service) (*service, error) {
	if s := c.r.services[w.VIP]; s != nil {
		return s, nil
	}
	index, ok := c.r.freeSvc.take()
	if !ok {
		return nil, fmt.Errorf("no room for another VIP: limits.services is %d, those that drain included", c.d.config.Limits.Services)
	}
	s := &service{index: uint16(index), vip: w.VIP, removed: true, ids: map[backendKey]uint32{}}
	c.r.arena.hold(0)
	c.r.arena.hold(0)
	c.r.services[w.VIP], c.r.indexes[s.index] = s, s
	c.undo = append(c.undo, func() { c.d.freeService(s) })
	c.d.mem.services[index] = bpf.WeirService{
		Port: wirePort(w.VIP.Port), Proto: uint8(w.VIP.Proto), Forward: uint8(w.Forward),
	}
	c.d.mem.services[index].Vip.Word = words(w.VIP.Addr)
	return s, nil
}

// backend finds the id of a backend, also of one that drains, or takes a free
// one; then it brings the next hop up to date.
func (c *change) backend(s *service, forward lb.Forward, w lb.BackendState) (uint32, error) {
	key := backendKey{w.Endpoint, forward}
	id, ok := s.ids[key]
	if ok {
		b := c.r.backends[id]
		if b.hop != w.Hop {
			c.d.writeHop(id, w.Hop)
			b.hop = w.Hop
		}
		return id, nil
	}
	if id, ok = c.r.freeID.take(); !ok {
		return 0, fmt.Errorf("no room for another backend: limits.backends is %d, those that drain included", c.d.config.Limits.Backends)
	}
	b := &backend{id: id, key: key, service: s, hop: w.Hop}
	s.ids[key] = id
	c.r.backends[id] = b
	c.d.writeBackend(b)
	c.nat = c.nat || forward.Translates()
	c.undo = append(c.undo, func() { c.d.freeBackend(b) })
	return id, nil
}

// region finds an arena region with this content at `have`, or writes one.
func (c *change) region(have, head uint32, entries []uint32) (uint32, error) {
	if c.r.arena.is(have, head, entries) {
		return have, nil
	}
	at, err := c.r.arena.place(head, entries)
	if err != nil {
		if err := c.d.reclaim(); err != nil {
			return 0, err
		}
		if at, err = c.r.arena.place(head, entries); err != nil {
			return 0, err
		}
	}
	c.undo = append(c.undo, func() { c.r.arena.release(at) })
	return at, nil
}

// table is region for a table, which services share.
func (c *change) table(s *service, w *lb.ServiceState) (uint32, *uint32, error) {
	if w.Service.Forward == lb.L7 {
		if s.table != 0 {
			c.share(0)
		}
		return 0, nil, nil
	}
	t := c.want.Tables[w.Table]
	var slots *uint32
	if len(t.Slots) > 0 {
		slots = &t.Slots[0]
	}
	if slots != nil && slots == s.slots {
		return s.table, slots, nil
	}
	if at, ok := c.tables[w.Table]; ok {
		c.share(at)
		return at, slots, nil
	}
	at, err := c.region(s.table, tableHead(t), t.Slots)
	if err == nil && at != s.table {
		c.tables[w.Table] = at
	}
	return at, slots, err
}

// share holds a region for one more service.
func (c *change) share(at uint32) {
	c.r.arena.hold(at)
	c.undo = append(c.undo, func() { c.r.arena.release(at) })
}

// publish switches a service to its new table and members.
func (d *DataPlane) publish(s *service, forward lb.Forward, table, members uint32, slots *uint32) error {
	raw := &d.mem.services[s.index]
	raw.Forward = uint8(forward)
	atomic.StoreUint64(&raw.Ref, uint64(members)<<32|uint64(table))
	if table != s.table {
		d.limbo = append(d.limbo, s.table)
	}
	if members != s.members {
		d.limbo = append(d.limbo, s.members)
	}
	s.table, s.members, s.slots, s.forward = table, members, slots, forward
	if !s.removed {
		return nil
	}
	if err := d.maps.Vips.Put(vipKey(s.vip), uint32(s.index)); err != nil {
		return fmt.Errorf("publish VIP %s: %w", s.vip, err)
	}
	s.removed = false
	return nil
}

// retire takes out of service what the state no longer names.
func (c *change) retire() error {
	wanted := map[lb.VIP]bool{}
	members := map[uint32]bool{}
	for _, w := range c.want.Services {
		wanted[w.Service.VIP] = true
		for _, id := range c.r.arena.region(c.r.services[w.Service.VIP].members) {
			members[id] = true
		}
	}
	var errs []error
	for vip, s := range c.r.services {
		if !wanted[vip] && !s.removed {
			errs = append(errs, c.d.maps.Vips.Delete(vipKey(vip)))
			s.removed = true
		}
	}
	for id, b := range c.r.backends {
		c.d.retiring = c.d.retiring || !b.retired && !members[id]
		b.retired = !members[id]
	}
	return errors.Join(errs...)
}

func vipKey(v lb.VIP) bpf.WeirVipKey {
	k := bpf.WeirVipKey{Port: wirePort(v.Port), Proto: uint8(v.Proto)}
	k.Addr.Word = words(v.Addr)
	return k
}
