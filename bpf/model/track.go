package model

// opens: a TCP connection's first packet.
func opens(proto, flags uint8) bool { return proto == tcp && flags&(syn|ack) == syn }

// hit is the backend of a stored flow, nil if the packet starts a new one. What
// has the flow's hash and another destination is the reply direction of a flow,
// or chance.
func (m *Model) hit(p *packet) *Backend {
	f := m.Flows.place(p.tuple().hash(&m.config.FlowKey)).find()
	if f == nil {
		return nil
	}
	b := m.backend(f.ID)
	if b == nil || !b.service.has(p.dst, p.dport) || f.finished() && opens(p.proto, p.flags) {
		return nil
	}
	to := f.State.next(p.proto, p.flags)
	if m.move(&m.Flows, f, to) && b.shared {
		m.end(b.replyTuple(p.tuple()), b, to)
	}
	return b
}

// has: it is where the service is, by the exact port or by every port.
func (s *Service) has(a Addr, port uint16) bool {
	return s.VIP == a && (s.Port == 0 || s.Port == port)
}

// end ends a flow if it is of that backend.
func (m *Model) end(t tuple, b *Backend, s State) {
	if f := m.Flows.place(t.hash(&m.config.FlowKey)).find(); f != nil && f.ID == b.ID {
		m.move(&m.Flows, f, s)
	}
}

// replyTuple is what replies to a flow of b carry.
func (b *Backend) replyTuple(t tuple) tuple {
	r := tuple{src: b.Addr, dst: t.src, sport: t.dport, dport: t.sport, version: t.version, proto: t.proto}
	if b.Port != 0 {
		r.sport = b.Port
	}
	return r
}

// open finds a backend for a packet of no stored flow and stores the flow, if
// there is room. Without a backend there is a reason.
func (m *Model) open(p *packet) (*Backend, Reason) {
	t := p.tuple()
	s := m.service(t)
	if s == nil {
		return nil, PassNotVIP
	}
	if t.proto != tcp || opens(t.proto, p.flags) {
		if refusal := m.limited(s, t); refusal != "" {
			return nil, refusal
		}
	}
	if s.Forward == L7 {
		return nil, PassLocal
	}
	b := m.pick(s, t, m.steady(s, t, p.flags))
	if b == nil {
		return nil, DropNoBackend
	}
	if b.shared && !m.reserveReplies(b, t) {
		return nil, DropNATConflict
	}
	if m.store(&m.Flows, m.Flows.place(t.hash(&m.config.FlowKey)), b.ID, firstState(p)) {
		b.Counters.Flows++
	} else {
		b.Counters.Unstored++
	}
	return b, ""
}

// service: an exact port comes before every port.
func (m *Model) service(t tuple) *Service {
	if s := m.services[endpoint{t.dst, t.dport, t.proto}]; s != nil {
		return s
	}
	return m.services[endpoint{t.dst, 0, t.proto}]
}

// firstState: nothing is trusted before a second packet.
func firstState(p *packet) State {
	switch {
	case p.proto == tcp && p.flags&rst != 0:
		return Closed
	case p.proto == tcp && p.flags&fin != 0:
		return Closing
	}
	return Embryonic
}

// reserveReplies stores the reply direction of a flow to a shared backend. It
// fails if it is another live flow's, or there is no room.
func (m *Model) reserveReplies(b *Backend, t tuple) bool {
	l := m.Flows.place(b.replyTuple(t).hash(&m.config.FlowKey))
	f := l.find()
	if f != nil && !f.finished() && m.ageOf(*f) <= m.config.Idle[Reverse] {
		return f.ID == b.ID
	}
	return m.store(&m.Flows, l, b.ID, Reverse)
}
