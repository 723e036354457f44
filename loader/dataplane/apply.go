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
	commit []placement
	nat    bool // the set of NAT backends changed
	acls   nextACLs
}

// placement is where what a service shall send to was written.
type placement struct {
	service        *service
	want           *lb.ServiceState
	slots          []uint32
	table, members uint32 // arena offsets
}

// Apply makes the kernel hold exactly this state. New backends and tables are
// written first, then each service is switched by one 64-bit store, then what
// is no longer wanted is retired: its flows finish, and Sweep frees it. An
// error before the switch leaves everything as it was.
//
// A service whose backends and table are the same memory as in the state
// before is known not to have changed.
func (d *DataPlane) Apply(want lb.State) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.syncVLANs(want.VLANs); err != nil {
		return err
	}
	if f := d.features.with(wanted(want)); f != d.features {
		if err := d.replaceProgram(f, d.config); err != nil {
			return err
		}
	}
	d.round++
	c := &change{d: d, r: d.registry, want: want, tables: map[int]uint32{}}
	if err := c.prepare(); err != nil {
		for _, f := range slices.Backward(c.undo) {
			f()
		}
		return errors.Join(err, d.syncReals())
	}
	var errs []error
	d.publishACLs(c.acls)
	for _, p := range c.commit {
		errs = append(errs, d.publish(p))
	}
	return errors.Join(append(errs, d.withdraw(), d.syncMarks(), d.syncQUIC())...)
}

func (c *change) prepare() error {
	for i := range c.want.Services {
		w := &c.want.Services[i]
		if err := c.prepareService(w); err != nil {
			return fmt.Errorf("service %s: %w", w.Service.Name, err)
		}
	}
	if err := c.prepareACLs(); err != nil {
		return err
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
	if s.round == c.d.round {
		return fmt.Errorf("VIP %s is used twice", w.Service.VIP)
	}
	s.round = c.d.round
	c.limits(s, w.Service)
	c.mss(s, w.Service)
	slots := c.slots(w)
	if s.holds(w, slots) {
		return nil
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
	table, err := c.table(s, w, slots)
	if err != nil {
		return err
	}
	c.commit = append(c.commit, placement{s, w, slots, table, members})
	return nil
}

// slots are the entries of a service's table, none for l7.
func (c *change) slots(w *lb.ServiceState) []uint32 {
	if w.Service.Forward == lb.L7 {
		return nil
	}
	return c.want.Tables[w.Table].Slots
}

// holds tells whether this very state was published for the service before.
func (s *service) holds(w *lb.ServiceState, slots []uint32) bool {
	return s.published && !s.removed && s.forward == w.Service.Forward && s.quic == w.QUIC &&
		sameMemory(s.backends, w.Backends) && sameMemory(s.slots, slots)
}

func sameMemory[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// service finds the VIP's entry or takes a free one.
func (c *change) service(w lb.Service) (*service, error) {
	if s := c.r.services[w.VIP]; s != nil {
		return s, nil
	}
	index, ok := c.r.freeSvc.take()
	if !ok {
		return nil, fmt.Errorf("no room for another VIP: limits.services is %d, those that drain included", c.d.limits.Services)
	}
	s := &service{index: uint16(index), vip: w.VIP, removed: true, ids: map[backendKey]uint32{}}
	c.r.arena.hold(0)
	c.r.arena.hold(0)
	c.r.services[w.VIP], c.r.indexes[s.index] = s, s
	c.undo = append(c.undo, func() { c.d.freeService(s) })
	for row := int(index); row < len(c.d.mem.drops); row += len(c.d.mem.services) {
		c.d.mem.drops[row] = bpf.WeirServiceDrops{}
	}
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
		c.hop(b, w.Hop)
		c.serverID(b, w.ServerID)
		return id, nil
	}
	if id, ok = c.r.freeID.take(); !ok {
		return 0, fmt.Errorf("no room for another backend: limits.backends is %d, those that drain included", c.d.limits.Backends)
	}
	b := &backend{id: id, key: key, service: s, hop: w.Hop}
	s.ids[key] = id
	c.r.backends[id] = b
	c.d.writeBackend(b)
	c.serverID(b, w.ServerID)
	c.nat = c.nat || forward.Translates()
	c.undo = append(c.undo, func() { c.d.freeBackend(b) })
	return id, nil
}

func (c *change) hop(b *backend, to lb.NextHop) {
	if from := b.hop; from != to {
		c.d.writeHop(b, to)
		c.undo = append(c.undo, func() { c.d.writeHop(b, from) })
	}
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
func (c *change) table(s *service, w *lb.ServiceState, slots []uint32) (uint32, error) {
	if w.Service.Forward == lb.L7 {
		if s.table != 0 {
			c.share(0)
		}
		return 0, nil
	}
	if len(slots) > 0 && sameMemory(slots, s.slots) {
		return s.table, nil
	}
	if at, ok := c.tables[w.Table]; ok {
		c.share(at)
		return at, nil
	}
	at, err := c.region(s.table, tableHead(c.want.Tables[w.Table]), slots)
	if err == nil && at != s.table {
		c.tables[w.Table] = at
	}
	return at, err
}

// share holds a region for one more service.
func (c *change) share(at uint32) {
	c.r.arena.hold(at)
	c.undo = append(c.undo, func() { c.r.arena.release(at) })
}

// publish switches a service to its new table and members, and retires the
// backends that it no longer sends to.
func (d *DataPlane) publish(p placement) error {
	s, forward := p.service, p.want.Service.Forward
	raw := &d.mem.services[s.index]
	raw.Forward = uint8(forward)
	d.publishQUIC(p)
	atomic.StoreUint64(&raw.Ref, uint64(p.members)<<32|uint64(p.table))
	if p.members != s.members && !s.removed { // else they are retired, or freed
		d.retire(s.members)
	}
	d.registry.revive(p.members)
	if p.table != s.table {
		d.limbo = append(d.limbo, s.table)
	}
	if p.members != s.members {
		d.limbo = append(d.limbo, s.members)
	}
	s.table, s.members, s.forward = p.table, p.members, forward
	s.slots, s.backends, s.quic, s.published = p.slots, p.want.Backends, p.want.QUIC, true
	if !s.removed {
		return nil
	}
	if err := d.maps.Vips.Put(vipKey(s.vip), uint32(s.index)); err != nil {
		return fmt.Errorf("publish VIP %s: %w", s.vip, err)
	}
	atomic.StoreUint32(&raw.Listed, 1)
	s.removed, d.marked = false, false
	return nil
}

// retire lets the backends of a member list finish their flows.
func (d *DataPlane) retire(members uint32) {
	for _, id := range d.registry.arena.region(members) {
		d.registry.retire(id)
		d.retiring = true
	}
}

// withdraw takes the services out that the state of this round does not name.
func (d *DataPlane) withdraw() error {
	var errs []error
	for vip, s := range d.registry.services {
		if s.round == d.round || s.removed {
			continue
		}
		atomic.StoreUint32(&d.mem.services[s.index].Listed, 0)
		if err := d.maps.Vips.Delete(vipKey(vip)); err != nil {
			errs = append(errs, fmt.Errorf("withdraw VIP %s: %w", vip, err))
			continue
		}
		s.removed, d.marked = true, false
		d.retire(s.members)
	}
	return errors.Join(errs...)
}

func vipKey(v lb.VIP) bpf.WeirVipKey {
	k := bpf.WeirVipKey{Port: wirePort(v.Port), Proto: uint8(v.Proto)}
	k.Addr.Word = words(v.Addr)
	return k
}
