package control

import (
	"net/netip"
	"testing"

	"weir/loader/lb"
)

// tableOver is a pool's table with these backends, by the last byte of their
// addresses.
func tableOver(a lb.Algorithm, slots []uint32, hosts ...byte) *poolTable {
	t := &poolTable{table: lb.Table{Algorithm: a, Slots: slots}}
	for _, h := range hosts {
		t.backends = append(t.backends, lb.BackendState{Endpoint: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, h}), 80)})
	}
	return t
}

func TestMovedEntries(t *testing.T) {
	const heavy, light = 9 << 16, 3 << 16
	for _, c := range []struct {
		name     string
		old, now *poolTable
		want     int
	}{
		{"same", tableOver(lb.Maglev, []uint32{0, 1, 0}, 1, 2), tableOver(lb.Maglev, []uint32{0, 1, 0}, 1, 2), 0},
		{"one moved", tableOver(lb.Maglev, []uint32{0, 1, 0}, 1, 2), tableOver(lb.Maglev, []uint32{0, 1, 1}, 1, 2), 1},
		{"other order", tableOver(lb.Maglev, []uint32{0, 1, 0}, 1, 2), tableOver(lb.Maglev, []uint32{1, 0, 1}, 2, 1), 0},
		{"grown", tableOver(lb.RoundRobin, []uint32{0, 1}, 1, 2), tableOver(lb.RoundRobin, []uint32{0, 1, 2}, 1, 2, 3), 1},
		{"new pool", &poolTable{}, tableOver(lb.RoundRobin, []uint32{0, 1}, 1, 2), 2},
		{"drained", tableOver(lb.RoundRobin, []uint32{0}, 1), tableOver(lb.RoundRobin, nil, 1), 1},
		{"weights are no moves", tableOver(lb.LeastConn, []uint32{heavy, heavy | 1}, 1, 2),
			tableOver(lb.LeastConn, []uint32{light, heavy | 1}, 1, 2), 0},
	} {
		if got := movedEntries(c.old, c.now); got != c.want {
			t.Errorf("%s: %d entries moved, want %d", c.name, got, c.want)
		}
	}
}
