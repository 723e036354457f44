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

// break_: two first fragments of a packet differ. No further one goes anywhere.
func (f part) break_() {
	for i := range f.set {
		if x := &f.set[i]; x.Tag == f.tag() && x.Fate != Unknown {
			x.Fate = Broken
		}
	}
}

func (m *Model) first(p *packet, f part, known Fragment) Verdict {
	if known.Fate == Broken {
		return m.refuse(DropFragmentOverlap)
	}
	if b := m.replier(p); b != nil {
		m.result.Reply = true
		fate, value := ToClient, int(b.ID)
		if b.service.Forward == SNAT {
			fate, value = SNATClient, m.pairOf(p)
		}
		if !m.admit(f, known, fate, value) {
			return m.refuse(DropFragmentOverlap)
		}
		return m.translateBack(p, b)
	}
	if m.denied(p.tuple()) {
		return m.refuse(DropACL)
	}
	b, refusal := m.choose(p)
	switch {
	case b == nil && refusal.verdict() == Pass && m.hasServices(p.dst, p.proto):
		if !m.admit(f, known, Local, m.config.Number(refusal)) {
			return m.refuse(DropFragmentOverlap)
		}
		return m.refuse(refusal)
	case b == nil:
		return m.refuse(refusal)
	case b.service.Forward == SNAT:
		return m.firstBySNAT(p, f, known, b)
	case !m.admit(f, known, ToBackend, int(b.ID)):
		return m.refuse(DropFragmentOverlap)
	}
	return m.forward(p, b, uint32(p.tuple().hash(&m.config.FlowKey)))
}

// admit: does it go where an earlier one of its packet went, if any?
func (m *Model) admit(f part, known Fragment, fate Fate, value int) bool {
	switch {
	case known.Fate == Unknown:
		m.note(f, fate, value)
	case known.Fate != fate || known.Value != uint32(value):
		f.break_()
		return false
	}
	return true
}

// firstBySNAT notes the pair, which is known when the packet is on its way.
func (m *Model) firstBySNAT(p *packet, f part, known Fragment, b *Backend) Verdict {
	pair := int(known.Value)
	if known.Fate != Unknown {
		same := known.Fate == SNATBackend && m.clients[pair] == client{p.src, p.sport} && m.holder(pair).ID == b.ID
		if !same {
			f.break_()
			return m.refuse(DropFragmentOverlap)
		}
	}
	v := m.forward(p, b, 0)
	if v != Drop && known.Fate == Unknown {
		now := packet{b: p.b, l3: p.l3, l4: p.l4, version: p.version}
		src, _ := now.addresses()
		m.note(f, SNATBackend, m.pairAt(m.addr(p, src), uint16(be16(p.b[p.l4:]))))
	}
	return v
}

// addr is an address field of a packet.
func (m *Model) addr(p *packet, field []byte) Addr {
	if p.version == 4 {
		return mapped(field)
	}
	return Addr(field)
}

func (m *Model) holder(pair int) Flow {
	m.Pairs.Touched = append(m.Pairs.Touched, pair/slots)
	return m.Pairs.Sets[pair/slots][pair%slots]
}

// follow sends a later fragment where the first went. What is noted may be of a
// backend that is gone: then the addresses do not fit.
func (m *Model) follow(p *packet, known Fragment, hash uint32) Verdict {
	id := known.Value
	switch known.Fate {
	case Local:
		return m.refuse(m.config.Name(int(known.Value)))
	case Broken:
		return m.refuse(DropFragmentOverlap)
	case SNATBackend, SNATClient:
		id = m.holder(int(known.Value)).ID
	}
	b := m.backend(id)
	snat := known.Fate == SNATBackend || known.Fate == SNATClient
	if b == nil || snat != (b.service.Forward == SNAT) {
		return m.refuse(DropFragment)
	}
	switch known.Fate {
	case ToBackend, SNATBackend:
		if p.dst != b.service.VIP {
			return m.refuse(DropFragment)
		}
		return m.laterRequest(p, b, known, hash)
	}
	if p.src != b.Addr || b.service.Forward != NAT && !snat {
		return m.refuse(DropFragment)
	}
	return m.laterReply(p, b, known)
}

// laterRequest: the checksums of TCP and UDP are in the first fragment.
func (m *Model) laterRequest(p *packet, b *Backend, known Fragment, hash uint32) Verdict {
	length := len(p.b)
	translated := b.service.Forward == NAT || b.service.Forward == SNAT
	switch {
	case b.Interface == 0:
		return m.refuse(DropNoNextHop)
	case p.hops == 0 || p.hops == 1 && translated:
		return m.refuse(DropTTL)
	case b.service.Forward == IPIP || b.service.Forward == GUE:
		if p.length+b.overhead() > b.MTU {
			return m.refuse(DropTooBig)
		}
		m.encapsulate(p, b, hash)
	case translated:
		p.hop()
		p.readdress(1, b.Addr)
		if known.Fate == SNATBackend {
			p.readdress(0, m.sources[int(known.Value)/portsOfSource])
		}
	}
	b.Counters.Packets++
	b.Counters.Bytes += uint64(length)
	return m.transmit(b.Interface, b.DstMAC, b.SrcMAC)
}

func (m *Model) laterReply(p *packet, b *Backend, known Fragment) Verdict {
	if p.hops <= 1 {
		return m.refuse(DropTTL)
	}
	p.hop()
	p.readdress(0, b.service.VIP)
	if known.Fate == SNATClient {
		p.readdress(1, m.clients[known.Value].addr)
	}
	b.Counters.ReplyPackets++
	b.Counters.ReplyBytes += uint64(len(p.b))
	return m.route(p)
}

// readdress changes the first or second address, and no checksum but IPv4's.
func (p *packet) readdress(which int, a Addr) {
	fields := [2][]byte{}
	fields[0], fields[1] = p.addresses()
	to := p.bytes(&a)
	if p.version == 4 {
		update(p.b[p.l3+10:p.l3+12], gain(fields[which], to))
	}
	copy(fields[which], to)
}
