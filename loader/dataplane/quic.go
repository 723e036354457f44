package dataplane

import (
	"fmt"

	"weir/bpf"
	"weir/loader/lb"
)

const quicFlag = uint8(bpf.WeirBackendFlagBACKEND_QUIC)

// serverID notes what a backend's connection ids say.
func (c *change) serverID(b *backend, to string) {
	from := b.serverID
	if from == to {
		return
	}
	b.serverID, c.d.quicSynced = to, false
	c.undo = append(c.undo, func() { b.serverID = from })
}

// publishQUIC tells the program the service's connection ids. Backends that
// drain keep what they had.
func (d *DataPlane) publishQUIC(p placement) {
	d.mem.services[p.service.index].Quic = p.want.QUIC
	for _, id := range d.registry.arena.region(p.members) {
		flags := d.mem.backends[id].Flags &^ quicFlag
		if p.want.QUIC.On() {
			flags |= quicFlag
		}
		d.mem.backends[id].Flags = flags
	}
	if p.service.quic != p.want.QUIC {
		d.quicSynced = false
	}
}

// syncQUIC makes the map of server ids equal to what the backends have. It
// keeps the entries of backends that finish their flows since before this
// process: whoever migrates is still found.
func (d *DataPlane) syncQUIC() error {
	if d.quicSynced {
		return nil
	}
	want := d.serverIDs()
	var key bpf.WeirQuicKey
	var id uint32
	var gone []bpf.WeirQuicKey
	it := d.maps.QuicIds.Iterate()
	for it.Next(&key, &id) {
		if wanted, ok := want[key]; ok && wanted == id {
			delete(want, key)
		} else if !ok && !d.finishes(id, key) {
			gone = append(gone, key)
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("read map quic_ids: %w", err)
	}
	keys, ids := make([]bpf.WeirQuicKey, 0, len(want)), make([]uint32, 0, len(want))
	for key, id := range want {
		keys, ids = append(keys, key), append(ids, id)
	}
	if err := deleteAll(d.maps.QuicIds, gone); err != nil {
		return fmt.Errorf("write map quic_ids: %w", err)
	}
	if err := putAll(d.maps.QuicIds, keys, ids); err != nil {
		return fmt.Errorf("write map quic_ids: %w", err)
	}
	d.quicSynced = true
	return nil
}

// serverIDs gives the backend of each service and server id. Of a backend that
// drains and another that took its id over, the latter has it.
func (d *DataPlane) serverIDs() map[bpf.WeirQuicKey]uint32 {
	out := map[bpf.WeirQuicKey]uint32{}
	for id, b := range d.registry.backends {
		if b.serverID == "" || lb.Proto(d.mem.backends[id].Proto) != lb.UDP {
			continue
		}
		key := quicKey(b)
		if other, twice := out[key]; !twice || d.registry.backends[other].retired {
			out[key] = id
		}
	}
	return out
}

func quicKey(b *backend) bpf.WeirQuicKey {
	k := bpf.WeirQuicKey{Service: b.service.index, Length: uint8(len(b.serverID))}
	copy(k.Id[:], b.serverID)
	return k
}

// finishes tells whether an id's entry is of a backend whose server id only the
// map knows.
func (d *DataPlane) finishes(id uint32, key bpf.WeirQuicKey) bool {
	b := d.registry.backends[id]
	return b != nil && b.retired && b.serverID == "" && b.service.index == key.Service
}
