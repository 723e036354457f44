package model

import (
	"encoding/binary"
	"slices"
)

const (
	fragmentSize = 8 // header of IPv6
	fragmentAge  = 4 // units of the clock
	fragmentSets = 8192
	packetMost   = 65535
)

// Fate is what came of a packet's first fragment.
type Fate uint8

// The fates.
const (
	Unknown     Fate = iota
	ToBackend        // by backend id
	ToClient         // by backend id
	SNATBackend      // by pair
	SNATClient       // by pair
	Local            // passed
	Broken      Fate = 7
)

// Fragment is one slot of the fragment table.
type Fragment struct {
	Tag   uint32 // of the packet's hash
	Value uint32 // see Fate; for Local the number of the reason
	Time  uint8
	Fate  Fate
}

// Word is a slot as the map has it.
func (f Fragment) Word() uint64 {
	return uint64(f.Tag)<<32 | uint64(f.Value)<<11 | uint64(f.Time)<<3 | uint64(f.Fate)
}

// Fragments is the fragment table. A packet has its place in one set.
type Fragments struct {
	Sets    [fragmentSets][slots]Fragment
	Touched []int // sets looked at since Reset
}

func (t *Fragments) reset() {
	for _, i := range t.Touched {
		t.Sets[i] = [slots]Fragment{}
	}
	t.Touched = t.Touched[:0]
}

// Age makes the words of the sets that were touched look older.
func (t *Fragments) Age(by uint16) {
	slices.Sort(t.Touched)
	t.Touched = slices.Compact(t.Touched)
	for _, i := range t.Touched {
		for j := range t.Sets[i] {
			if f := &t.Sets[i][j]; f.Fate != Unknown {
				f.Time -= uint8(by)
			}
		}
	}
}

// part is where a fragment belongs.
type part struct {
	hash   uint64
	offset int
	set    *[slots]Fragment
}

// fragmentOf reads what a fragment says of itself. The first one's ports are
// read, too. IPv6's extension headers behind the fragment header are not
// followed, as later fragments do not show them.
func (m *Model) fragmentOf(p *packet) (f part, what kind) {
	at, id := int(p.b[p.l3]&15)*4, uint32(0)
	if p.version == 4 {
		id, f.offset = uint32(binary.NativeEndian.Uint16(p.b[p.l3+4:])), be16(p.b[p.l3+6:])&0x1fff*8
	} else {
		if at, what = p.fragmentHeader(); what != whole {
			return f, what
		}
		h := p.b[p.l3+at:]
		p.proto, f.offset, id = h[0], be16(h[2:])&^7, binary.NativeEndian.Uint32(h[4:])
		at += fragmentSize
		if isExtension(p.proto) || p.proto == fragmentation {
			p.proto = 0
			return f, extensions
		}
	}
	switch {
	case !balanced(p.proto):
		return f, otherProtocol
	case f.offset+p.length-at > packetMost:
		return f, malformed
	}
	p.l4 = p.l3 + at
	if f.offset == 0 {
		if what = p.parseFirst(); what != whole {
			return f, what
		}
	}
	t := tuple{src: p.src, dst: p.dst, version: p.version, proto: p.proto}
	f.hash = t.hashWith(&m.config.FlowKey, id)
	index := scale(high(f.hash), fragmentSets)
	m.Fragments.Touched = append(m.Fragments.Touched, index)
	f.set = &m.Fragments.Sets[index]
	return f, whole
}

// fragmentHeader finds the header that makes the packet a fragment.
func (p *packet) fragmentHeader() (at int, what kind) {
	ip := p.b[p.l3:]
	next, at := ip[6], ip6Size
	for range mostExtensions + 1 {
		if at+fragmentSize > p.length {
			return 0, malformed
		}
		if next == fragmentation && isPart(ip[at:]) {
			return at, whole
		}
		next, at = ip[at], at+extensionSize(next, ip[at:])
	}
	return 0, extensions
}

// parseFirst: a first fragment has the whole TCP or UDP header (RFC 7112), but
// not all that UDP's length states.
func (p *packet) parseFirst() kind {
	b := p.b[p.l4 : p.l3+p.length]
	if p.proto == tcp {
		return p.parseTransport()
	}
	if len(b) < udpSize || be16(b[4:]) < udpSize {
		return malformed
	}
	p.sport, p.dport = uint16(be16(b)), uint16(be16(b[2:]))
	return whole
}

func (f part) tag() uint32 { return max(uint32(f.hash), 1) }

// fragment handles one: the first goes as its ports say and what came of it is
// noted, the others go the same way.
func (m *Model) fragment(p *packet) Verdict {
	f, what := m.fragmentOf(p)
	if what != whole {
		return m.unbalanced(p, what)
	}
	known := m.fate(f)
	if f.offset == 0 {
		return m.first(p, f, known)
	}
	ours := m.hasServices(p.dst, p.proto)
	switch {
	case known.Fate == Unknown && !ours:
		return m.refuse(PassNotVIP)
	case p.proto == tcp && f.offset < tcpSize: // over the header (RFC 3128)
		return m.refuse(DropFragmentOverlap)
	case known.Fate == Unknown:
		return m.refuse(DropFragment)
	}
	return m.follow(p, known, uint32(f.hash))
}

// fate is what is noted of a fragment's packet.
func (m *Model) fate(f part) (known Fragment) {
	for _, x := range f.set {
		if x.Tag == f.tag() && x.Fate != Unknown && !m.outdated(x) {
			known = x
		}
	}
	return known
}

func (m *Model) outdated(f Fragment) bool { return uint8(m.now)-f.Time+1 > fragmentAge+1 }

// note stores a fate in a free slot or, if there is none, in any.
func (m *Model) note(f part, fate Fate, value int) {
	slot := int(f.tag() % slots)
	for i, x := range f.set {
		if x.Fate == Unknown || m.outdated(x) {
			slot = i
		}
	}
	f.set[slot] = Fragment{Tag: f.tag(), Value: uint32(value), Time: uint8(m.now), Fate: fate}
}

// spoil: two first fragments of a packet differ. No further one goes anywhere.
func (f part) spoil() {
	for i := range f.set {
		if x := &f.set[i]; x.Tag == f.tag() && x.Fate != Unknown {
			x.Fate = Broken
		}
	}
}
