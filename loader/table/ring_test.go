package table

import "testing"

func TestRingMultiplies(t *testing.T) {
	for _, size := range []uint32{2, 3, 65537, 16777213} {
		r := &ring{size: size, reciprocal: ^uint64(0) / uint64(size)}
		for _, a := range []uint32{0, 1, size / 2, size/2 + 1, size - 2, size - 1} {
			for b := uint32(0); b < size; b += 1 + size/1009 {
				if got, want := r.multiply(a, b), uint64(a)*uint64(b)%uint64(size); uint64(got) != want {
					t.Fatalf("%d*%d modulo %d is %d, want %d", a, b, size, got, want)
				}
			}
		}
	}
}

func TestRingInverts(t *testing.T) {
	for _, size := range []uint32{2, 3, 5, 251, 65537} {
		r := newRing(size)
		for i := uint32(1); i < size; i++ {
			if one := r.multiply(i, r.inverse[i]); one != 1 {
				t.Fatalf("%d times its inverse modulo %d is %d", i, size, one)
			}
		}
	}
}

// A claim meets every entry once before it meets one again.
func TestRingWalksAllEntries(t *testing.T) {
	for _, size := range []uint32{2, 3, 5, 251} {
		r := newRing(size)
		c := claim{step: size - 1, scale: size - 1, offset: size / 2}
		seen := map[uint32]bool{}
		for range size {
			seen[r.take(&c)] = true
			clear(r.taken)
		}
		if len(seen) != int(size) {
			t.Errorf("size %d: met %d entries", size, len(seen))
		}
	}
}

func TestTurnsAreInOrder(t *testing.T) {
	ts := newTurns([]claim{{phase: 7}, {phase: 3}, {phase: 3}, {phase: 9}, {phase: 3}})
	for _, want := range []turn{{3, 1}, {3, 2}, {3, 4}, {7, 0}, {8, 1}, {8, 2}, {8, 4}, {9, 3}} {
		if ts[0] != want {
			t.Fatalf("next is %v, want %v", ts[0], want)
		}
		ts.postpone(5)
	}
}
