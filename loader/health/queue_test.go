package health

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Whatever is added and removed, what remains comes out in order.
func TestQueue(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var q queue
		var all []entry
		for range 1 + random.IntN(100) {
			e := entry{time.Duration(random.IntN(50)), &check{}}
			all = append(all, e)
			q.add(e)
			if random.IntN(3) == 0 {
				i := random.IntN(len(all))
				q.remove(all[i].check.index)
				if all[i].check.index != -1 {
					t.Fatal("what was removed has an index")
				}
				all = slices.Delete(all, i, i+1)
			}
			for i, e := range q {
				if e.check.index != i {
					t.Fatalf("the entry at %d has the index %d", i, e.check.index)
				}
			}
		}
		slices.SortFunc(all, func(a, b entry) int { return int(a.due - b.due) })
		for _, want := range all {
			if q[0].due != want.due {
				t.Fatalf("%d comes out, want %d", q[0].due, want.due)
			}
			q.remove(0)
		}
		if len(q) > 0 {
			t.Fatalf("%d are left", len(q))
		}
	}
}
