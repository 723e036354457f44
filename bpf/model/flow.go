package model

const (
	slots    = 8
	timeBits = 11
	timeMask = 1<<timeBits - 1
)

// State is how far a flow is.
type State uint8

// The states, which a flow goes through upwards only. Embryonic, Established and
// Stream count as active.
const (
	Empty       State = iota
	Reverse           // the reply direction of a flow, so that nobody else gets it
	Embryonic         // nothing is trusted before a second packet
	Established       // TCP
	Stream            // UDP
	Closing           // by the client, whose RST anybody can forge
	Closed            // by the backend

	States = 8
)

// Flow is one slot of a flow table.
type Flow struct {
	Tag   uint32 // of the flow's hash
	ID    uint32 // of the backend
	Time  uint16 // when it was last used
	State State
}

// Word is a slot as the map has it.
func (f Flow) Word() uint64 {
	return uint64(f.Tag)<<32 | uint64(f.ID)<<14 | uint64(f.Time)<<3 | uint64(f.State)
}

// Set is a cache line of the table: a flow has its place in one.
type Set [slots]Flow

// Table holds flows.
type Table struct {
	Sets    []Set
	Touched []int // sets looked at since Reset, some more than once
	counted bool  // its flows are those that Counters.Active counts
}

// place is where a flow of a hash is or would be.
type place struct {
	set   *Set
	index int // of the set
	tag   uint32
}

func (t *Table) locate(index int, hash uint64) place {
	tag := uint32(hash)
	if tag == 0 {
		tag = 1 // 0 is an empty slot
	}
	t.Touched = append(t.Touched, index)
	return place{&t.Sets[index], index, tag}
}

func (t *Table) place(hash uint64) place { return t.locate(scale(high(hash), len(t.Sets)), hash) }

func (t *Table) reset() {
	for _, i := range t.Touched {
		t.Sets[i] = Set{}
	}
	t.Touched = t.Touched[:0]
}

// Forget empties a slot of the flow table.
func (m *Model) Forget(set, slot int) {
	m.Flows.Touched = append(m.Flows.Touched, set)
	f := &m.Flows.Sets[set][slot]
	if f.State.active() {
		m.activate(f.ID, -1)
	}
	*f = Flow{}
}

// Put gives an empty slot of the flow table a flow.
func (m *Model) Put(set, slot int, f Flow) {
	m.Flows.Touched = append(m.Flows.Touched, set)
	m.Flows.Sets[set][slot] = f
	if f.State.active() {
		m.activate(f.ID, 1)
	}
}

// Age makes the flows of the sets that were touched look older.
func (t *Table) Age(by uint16) {
	seen := map[int]bool{}
	for _, i := range t.Touched {
		if seen[i] {
			continue
		}
		seen[i] = true
		for j := range t.Sets[i] {
			if f := &t.Sets[i][j]; f.State != Empty {
				f.Time = (f.Time - by) & timeMask
			}
		}
	}
}

// find gives the flow itself, nil if it is not stored.
func (l place) find() *Flow {
	for i := range l.set {
		if l.set[i].Tag == l.tag {
			return &l.set[i]
		}
	}
	return nil
}

func (f *Flow) finished() bool { return f.State == Closing || f.State == Closed }

func (s State) active() bool { return s == Embryonic || s == Established || s == Stream }

// age is how long a flow has been silent. A word may be of a CPU whose clock is
// ahead by one.
func (m *Model) ageOf(f Flow) uint16 {
	age := (m.now - f.Time) & timeMask
	if age == timeMask {
		return 0
	}
	return age
}

// next is the state that a client's packet moves a flow to.
func (s State) next(proto, flags uint8) State {
	switch {
	case proto != tcp && s == Embryonic:
		return Stream // a second packet
	case proto != tcp:
		return s
	case flags&rst != 0 && s == Embryonic:
		return Closed
	case flags&(rst|fin) != 0:
		return max(s, Closing)
	case flags&syn == 0 && s == Embryonic:
		return Established
	}
	return s
}

// move takes a flow to now and to a state, unless it is further already. It
// reports whether this ended the flow.
func (m *Model) move(t *Table, f *Flow, to State) (ended bool) {
	to = max(to, f.State)
	ended = f.State.active() && !to.active()
	if ended && t.counted {
		m.activate(f.ID, -1)
	}
	if f.State != to || m.ageOf(*f) != 0 {
		f.State, f.Time = to, m.now
	}
	return ended
}

func (m *Model) activate(id uint32, n int) {
	if b := m.backend(id); b != nil {
		b.Counters.Active += uint64(n)
	}
}

// rank says how gladly a slot is given to a new flow: the higher the gladder.
type rank int

const (
	live      rank = 0 // never
	embryonic rank = 1
	ended     rank = 2
	idle      rank = 4            // is added to the others
	empty     rank = idle | ended // also one that has ended long ago
	same      rank = 7            // of the same 5-tuple
)

// silentAge: a flow that its client has ended counts as such when it has been
// silent for longer.
const silentAge = 2

func (m *Model) rank(f Flow, tag uint32) (r rank) {
	switch {
	case f.Tag == tag:
		return same
	case f.State == Empty:
		return empty
	case f.State == Closed, f.State == Closing && m.ageOf(f) > silentAge:
		r = ended
	case f.State == Embryonic:
		r = embryonic
	}
	if m.ageOf(f) > m.config.Idle[f.State] {
		r |= idle
	}
	return r
}

// victim is the slot that a new flow gets: the best by rank, of equals the one
// that is silent longest, of those the nearest to the one that its tag says.
func (m *Model) victim(l place) (best *Flow, r rank) {
	for distance := range slots {
		f := &l.set[(slots-1-distance)^int(l.tag%slots)]
		fr := m.rank(*f, l.tag)
		if best == nil || fr > r || fr == r && m.ageOf(*f) >= m.ageOf(*best) {
			best, r = f, fr
		}
	}
	return best, r
}

// store gives a flow its slot; false if there is none.
func (m *Model) store(t *Table, l place, id uint32, s State) bool {
	f, r := m.victim(l)
	if r == live {
		return false
	}
	if t.counted && f.State.active() {
		m.activate(f.ID, -1)
	}
	if t.counted && s.active() {
		m.activate(id, 1)
	}
	*f = Flow{Tag: l.tag, ID: id, Time: m.now, State: s}
	return true
}
