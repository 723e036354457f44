package dataplane

import (
	"fmt"

	"weir/bpf"
	"weir/loader/lb"
)

// syncVLANs makes the map of interfaces that tag hold these. New ones come
// first: a backend's next hop may be by one of them.
func (d *DataPlane) syncVLANs(want []lb.VLAN) error {
	have, err := d.pinnedVLANs()
	if err != nil {
		return err
	}
	for _, v := range want {
		index, entry := uint32(v.IfIndex), vlanEntry(v)
		if old, known := have[index]; !known || old != entry {
			if err := d.maps.Vlans.Put(index, entry); err != nil {
				return fmt.Errorf("write map vlans: interface %d: %w", v.IfIndex, err)
			}
		}
		delete(have, index)
	}
	for index := range have {
		if err := d.maps.Vlans.Delete(index); err != nil {
			return fmt.Errorf("write map vlans: interface %d: %w", index, err)
		}
	}
	return nil
}

// pinnedVLANs reads what the map holds.
func (d *DataPlane) pinnedVLANs() (map[uint32]bpf.WeirVlan, error) {
	have := map[uint32]bpf.WeirVlan{}
	var index uint32
	var entry bpf.WeirVlan
	it := d.maps.Vlans.Iterate()
	for it.Next(&index, &entry) {
		have[index] = entry
	}
	if err := it.Err(); err != nil {
		return nil, fmt.Errorf("read map vlans: %w", err)
	}
	return have, nil
}

func vlanEntry(v lb.VLAN) bpf.WeirVlan {
	e := bpf.WeirVlan{Ifindex: uint32(v.Below)}
	for i, t := range v.Tags {
		e.Tag[i] = bpf.WeirTag{Tpid: wirePort(t.Kind), Tci: wirePort(t.ID)}
	}
	return e
}
