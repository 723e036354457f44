package model

// Sources of snat: each pair of one of our addresses and a port is a slot of a
// table like the flow table, so that only one flow can have it.
const (
	firstPort     = 1024
	portsOfSource = 1<<16 - firstPort
	setsOfSource  = portsOfSource / slots
)

// client is who a pair was given to last.
type client struct {
	addr Addr
	port uint16
}

// pairPlaces are the two sets in which a flow may have its pair.
func (m *Model) pairPlaces(t tuple) [2]place {
	hash := t.hash(&m.config.FlowKey)
	first, count := 0, len(m.config.Sources4)
	if t.version == 6 {
		first, count = count*setsOfSource, len(m.config.Sources6)
	}
	at := func(h uint64) place { return m.Pairs.locate(first+scale(high(h), count*setsOfSource), hash) }
	return [2]place{at(hash), at(mix(hash))}
}

// source is the address and port of ours that a flow has to a backend, or gets
// now; false if all that it may have are in use.
func (m *Model) source(p *packet, b *Backend) (client, bool) {
	places := m.pairPlaces(p.tuple())
	for _, l := range places {
		if f := l.find(); f != nil && f.ID == b.ID {
			m.movePair(f, p)
			return m.sourceOf(l, f), true
		}
	}
	l, f := m.freePair(places)
	if f == nil {
		return client{}, false
	}
	*f = Flow{Tag: l.tag, ID: b.ID, Time: m.now, State: Embryonic}
	pair := l.pair(f)
	m.clients[pair] = client{p.src, p.sport}
	return m.sourceOf(l, f), true
}

// movePair takes a pair through the states that its flow goes through; a new
// connection of the same client begins again.
func (m *Model) movePair(f *Flow, p *packet) {
	if f.finished() && opens(p.proto, p.flags) {
		f.State, f.Time = Embryonic, m.now
		return
	}
	m.move(&m.Pairs, f, f.State.next(p.proto, p.flags))
}

// freePair is a slot for a new flow, nil if all are live: the second set only if
// the first has no slot that is as good as empty, and the second has a better.
func (m *Model) freePair(places [2]place) (place, *Flow) {
	l := places[0]
	f, r := m.victim(l)
	if r < empty {
		if other, better := m.victim(places[1]); better > r {
			l, f, r = places[1], other, better
		}
	}
	if r == live {
		return l, nil
	}
	return l, f
}

// pair is the number of a slot.
func (l place) pair(f *Flow) int {
	for i := range l.set {
		if &l.set[i] == f {
			return l.index*slots + i
		}
	}
	return -1
}

func (m *Model) sourceOf(l place, f *Flow) client {
	pair := l.pair(f)
	return client{m.sources[pair/portsOfSource], uint16(firstPort + pair%portsOfSource)}
}

// pairOf is the pair that a packet is addressed to, -1 if it is none of ours.
func (m *Model) pairOf(p *packet) int { return m.pairAt(p.dst, p.dport) }

func (m *Model) pairAt(addr Addr, port uint16) int {
	for i, a := range m.sources {
		if a == addr && port >= firstPort {
			return i*portsOfSource + int(port) - firstPort
		}
	}
	return -1
}

// snatReplier is the backend of the flow that holds the pair to which a packet
// is addressed, if the packet is from there. It keeps pair and flow alive or,
// if it resets the connection, ends them.
func (m *Model) snatReplier(p *packet) *Backend {
	pair := m.pairOf(p)
	if pair < 0 {
		return nil
	}
	m.Pairs.Touched = append(m.Pairs.Touched, pair/slots)
	f := &m.Pairs.Sets[pair/slots][pair%slots]
	b := m.backend(f.ID)
	if b == nil || b.service.Forward != SNAT || !b.isSource(p) {
		return nil
	}
	reset := p.proto == tcp && p.flags&rst != 0
	to := f.State
	if reset {
		to = Closed
	}
	m.move(&m.Pairs, f, to)
	t := b.requestTuple(p)
	t.src, t.sport = m.clients[pair].addr, m.clients[pair].port
	m.touch(t, b, reset)
	return b
}
