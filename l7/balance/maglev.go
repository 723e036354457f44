package balance

import (
	"fmt"

	"weir/loader/lb"
	"weir/loader/table"
)

// maglev picks by key from the table that layer 4 uses. If a key's backend
// cannot be taken, the entries that follow decide, which are as good as random.
type maglev struct {
	members []Member
	slots   []uint32
}

func newMaglev(members []Member, seed uint64) (*maglev, error) {
	m := &maglev{members: members}
	entries := make([]table.Entry, len(members))
	backends := make([]lb.Backend, len(members))
	for i, member := range members {
		entries[i] = table.Entry{ID: member.Addr.String(), Weight: member.Weight}
		backends[i].Weight = lb.Weight(member.Weight)
	}
	slots, err := table.Maglev(entries, table.SizeFor(backends), seed)
	if err != nil {
		return nil, fmt.Errorf("balance %d backends: %w", len(members), err)
	}
	m.slots = slots
	return m, nil
}

// Pick implements Picker.
func (m *maglev) Pick(key uint64, avoid []int) int {
	if len(m.slots) == 0 {
		return -1
	}
	return walk(m.members, m.slots, key, avoid)
}
