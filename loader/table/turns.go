package table

// turn is when a claim, by its index, takes its next entry.
type turn struct {
	due   uint64
	claim uint32
}

// before orders turns; claims are ordered by identity, which breaks ties.
func (t turn) before(o turn) bool {
	return t.due < o.due || t.due == o.due && t.claim < o.claim
}

// turns is a binary heap with the next turn first. container/heap would do the
// same through an interface at several times the cost of building the table.
type turns []turn

func newTurns(claims []claim) turns {
	ts := make(turns, len(claims))
	for i := range claims {
		ts[i] = turn{due: claims[i].phase, claim: uint32(i)}
	}
	for i := len(ts)/2 - 1; i >= 0; i-- {
		ts.sink(i, ts[i])
	}
	return ts
}

// postpone moves the first turn later by this much.
func (ts turns) postpone(interval uint64) {
	t := ts[0]
	t.due += interval
	ts.sink(0, t)
}

// sink puts t where position i is vacant, or below.
func (ts turns) sink(i int, t turn) {
	for {
		child := 2*i + 1
		if child >= len(ts) {
			break
		}
		if right := child + 1; right < len(ts) && ts[right].before(ts[child]) {
			child = right
		}
		if !ts[child].before(t) {
			break
		}
		ts[i] = ts[child]
		i = child
	}
	ts[i] = t
}
