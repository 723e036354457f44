package dataplane

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/cilium/ebpf"

	"weir/bpf"
	"weir/loader/lb"
)

// aclEntries is the size of the map acl, whose memory is only what is used: all
// lists twice, as new ones are written beside the old, and what each has rules
// for anyway.
const aclEntries = 2 * (lb.MaxPrefixes + 2<<16)

const (
	aclListBits   = uint32(bpf.WeirConstantACL_LIST_BITS)
	aclMappedBits = 96 // of an IPv4 address before its own
)

// acls is what the map acl holds.
type acls struct {
	all      heldACL
	services map[uint16]heldACL // by index of the service
	limbo    []heldACL          // replaced, maybe still being read
	last     uint32             // the highest id that was ever used
}

// heldACL is an ACL and the id of its list; the zero value is none.
type heldACL struct {
	id  uint32
	acl *lb.ACL
}

// nextACLs are the lists of one Apply.
type nextACLs struct {
	all      heldACL
	services map[uint16]heldACL
}

func (a *acls) any() bool { return a.all.id != 0 || len(a.services) > 0 }

// prepareACLs writes the lists that changed under new ids, which no packet
// looks at yet.
func (c *change) prepareACLs() error {
	held := c.d.acls
	next := nextACLs{services: map[uint16]heldACL{}}
	var err error
	if next.all, err = c.list(held.all, c.want.ACL); err != nil {
		return fmt.Errorf("acl: %w", err)
	}
	// Services that drain keep theirs.
	for index, h := range held.services {
		if s := c.r.indexes[index]; s != nil && s.round != c.d.round {
			next.services[index] = h
		}
	}
	for i := range c.want.Services {
		w := &c.want.Services[i]
		if w.Service.ACL == nil {
			continue
		}
		index := c.r.services[w.Service.VIP].index
		h, err := c.list(held.services[index], w.Service.ACL)
		if err != nil {
			return fmt.Errorf("service %s: acl: %w", w.Service.Name, err)
		}
		next.services[index] = h
	}
	c.acls = next
	return nil
}

// list is what is held, if that is what is wanted, or else what is written now.
func (c *change) list(held heldACL, want *lb.ACL) (heldACL, error) {
	if want == nil {
		return heldACL{}, nil
	}
	if want.Equal(held.acl) {
		return heldACL{held.id, want}, nil
	}
	held = c.d.acls.next(want)
	c.undo = append(c.undo, func() { c.d.acls.limbo = append(c.d.acls.limbo, held) })
	err := held.write(c.d.maps.Acl)
	if err == nil {
		return held, nil
	}
	// Perhaps only what was replaced a moment ago is in the way.
	if err := c.d.reclaim(); err != nil {
		return heldACL{}, err
	}
	return held, held.write(c.d.maps.Acl)
}

func (a *acls) next(want *lb.ACL) heldACL {
	a.last++
	return heldACL{a.last, want}
}

// publishACLs switches to the lists of the other side by one store.
func (d *DataPlane) publishACLs(next nextACLs) {
	a := d.acls
	if a.same(next) {
		a.all, a.services = next.all, next.services
		return
	}
	state := &d.mem.lists[0]
	side := 1 - state.Side&1
	state.All[side] = next.all.id
	for _, s := range d.registry.indexes {
		d.mem.services[s.index].Acl[side] = next.services[s.index].id
	}
	if len(next.services) > 0 {
		atomic.StoreUint32(&state.Services, 1)
	}
	atomic.StoreUint32(&state.Side, side)
	if len(next.services) == 0 {
		atomic.StoreUint32(&state.Services, 0)
	}
	a.retire(next)
	a.all, a.services = next.all, next.services
}

func (a *acls) same(next nextACLs) bool {
	if a.all.id != next.all.id || len(a.services) != len(next.services) {
		return false
	}
	for index, h := range a.services {
		if next.services[index].id != h.id {
			return false
		}
	}
	return true
}

// retire lets go of the lists that next does not have.
func (a *acls) retire(next nextACLs) {
	if a.all.id != 0 && a.all.id != next.all.id {
		a.limbo = append(a.limbo, a.all)
	}
	for index, h := range a.services {
		if next.services[index].id != h.id {
			a.limbo = append(a.limbo, h)
		}
	}
}

// forget lets go of the list of a service that is freed.
func (a *acls) forget(index uint16) {
	if h, ok := a.services[index]; ok {
		a.limbo = append(a.limbo, h)
		delete(a.services, index)
	}
}

// reclaim removes the lists that nothing refers to; no program may still be
// reading them.
func (a *acls) reclaim(m *ebpf.Map) error {
	for len(a.limbo) > 0 {
		h := a.limbo[len(a.limbo)-1]
		if err := h.remove(m); err != nil {
			return err
		}
		a.limbo = a.limbo[:len(a.limbo)-1]
	}
	return nil
}

func (h heldACL) write(m *ebpf.Map) error {
	denied := make([]uint32, len(h.acl.Rules))
	for i, r := range h.acl.Rules {
		if r.Deny {
			denied[i] = 1
		}
	}
	if err := putAll(m, h.keys(), denied); err != nil {
		return fmt.Errorf("write %d prefixes into map acl: %w", len(denied), explain(err))
	}
	return nil
}

// remove may be called again after it failed.
func (h heldACL) remove(m *ebpf.Map) error {
	for _, key := range h.keys() {
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove a prefix from map acl: %w", err)
		}
	}
	return nil
}

func (h heldACL) keys() []bpf.WeirAclKey {
	keys := make([]bpf.WeirAclKey, len(h.acl.Rules))
	for i, r := range h.acl.Rules {
		keys[i] = bpf.WeirAclKey{Bits: aclListBits + uint32(r.Prefix.Bits()), List: h.id}
		if r.Prefix.Addr().Is4() {
			keys[i].Bits += aclMappedBits
		}
		keys[i].Addr.Word = words(r.Prefix.Addr())
	}
	return keys
}

func ruleOf(key bpf.WeirAclKey, denied uint32) lb.ACLRule {
	addr, bits := addrOf(key.Addr.Word), int(key.Bits-aclListBits)
	if addr.Is4() && bits >= aclMappedBits {
		bits -= aclMappedBits
	} else {
		addr = netip.AddrFrom16(addr.As16())
	}
	return lb.ACLRule{Prefix: netip.PrefixFrom(addr, bits), Deny: denied != 0}
}

// readACLs learns from the maps what an earlier loader left. Lists that nothing
// refers to, as it was killed, are for the next reclaim.
func readACLs(maps *bpf.WeirMaps, mem *memory, r *registry) (*acls, error) {
	lists := map[uint32]*lb.ACL{}
	a := &acls{services: map[uint16]heldACL{}}
	var key bpf.WeirAclKey
	var denied uint32
	it := maps.Acl.Iterate()
	for it.Next(&key, &denied) {
		if lists[key.List] == nil {
			lists[key.List] = &lb.ACL{}
		}
		lists[key.List].Rules = append(lists[key.List].Rules, ruleOf(key, denied))
		a.last = max(a.last, key.List)
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read pinned map acl: %w", err)
	}
	for _, l := range lists {
		slices.SortFunc(l.Rules, func(x, y lb.ACLRule) int { return x.Prefix.Compare(y.Prefix) })
	}
	take := func(id uint32) heldACL {
		l := lists[id]
		delete(lists, id)
		if l == nil {
			return heldACL{}
		}
		return heldACL{id, l}
	}
	side := mem.lists[0].Side & 1
	a.all = take(mem.lists[0].All[side])
	for index := range r.indexes {
		if h := take(mem.services[index].Acl[side]); h.id != 0 {
			a.services[index] = h
		}
	}
	for id, l := range lists {
		a.limbo = append(a.limbo, heldACL{id, l})
	}
	return a, nil
}

// ACL says what holds for a source: the rule of the list of all services, and
// those of the services that have lists of their own, sorted by VIP. It asks the
// kernel's map, and an error says where that differs from what was written.
func (d *DataPlane) ACL(src netip.Addr) (out []lb.ACLVerdict, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ask := func(vip *lb.VIP, h heldACL) {
		if h.id == 0 {
			return
		}
		rule := h.acl.Match(src)
		key := bpf.WeirAclKey{Bits: aclListBits + 128, List: h.id}
		key.Addr.Word = words(src)
		var denied uint32
		if e := d.maps.Acl.Lookup(key, &denied); e != nil {
			err = errors.Join(err, fmt.Errorf("ask map acl for %s: %w", src, e))
		} else if (denied != 0) != rule.Deny {
			err = errors.Join(err, fmt.Errorf("the kernel's list %d does not do for %s what its rule %s says; please report this", h.id, src, rule.Prefix))
		}
		out = append(out, lb.ACLVerdict{VIP: vip, Prefix: rule.Prefix, Deny: rule.Deny})
	}
	ask(nil, d.acls.all)
	for _, index := range slices.Sorted(maps.Keys(d.acls.services)) {
		ask(ptr(d.registry.indexes[index].vip), d.acls.services[index])
	}
	return out, err
}
