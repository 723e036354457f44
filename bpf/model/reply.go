package model

// replier is the backend that a packet is a reply from to one of our clients,
// nil if it is none, such as an answer to a health check.
func (m *Model) replier(p *packet) *Backend {
	if b := m.snatReplier(p); b != nil {
		return b
	}
	b := m.registered(p)
	if b != nil && b.shared {
		b = m.sharedReplier(p, b)
	}
	if b == nil || b.service.Forward != NAT || !m.answers(p, b) {
		return nil
	}
	return b
}

// registered is the backend of nat that has the packet's source.
func (m *Model) registered(p *packet) *Backend {
	if id := m.reals[endpoint{p.src, p.sport, p.proto}]; id != 0 {
		return m.backend(id)
	}
	return m.backend(m.reals[endpoint{p.src, 0, p.proto}])
}

// sharedReplier: whose reply it is says the reply direction that the flow has
// reserved. Without, it is of the backend that is registered; but what comes
// from a backend of every port and is no flow's is its own traffic, as is what
// belongs to a flow that the backend has opened itself, to another VIP.
func (m *Model) sharedReplier(p *packet, b *Backend) *Backend {
	f := m.Flows.place(p.tuple().hash(&m.config.FlowKey)).find()
	switch {
	case f == nil && b.Port != 0:
		return b
	case f == nil:
		return nil
	}
	if b = m.backend(f.ID); b == nil || !b.isSource(p) {
		return nil
	}
	m.move(&m.Flows, f, f.State)
	return b
}

// isSource: the packet is from the backend.
func (b *Backend) isSource(p *packet) bool {
	return b.service.Proto == p.proto && b.Addr == p.src && (b.Port == 0 || b.Port == p.sport)
}

// answers: is there a flow of b's that the packet answers? It keeps the flow
// alive or, if it resets the connection, ends it. Where all slots are live the
// flow may be one that was not stored.
func (m *Model) answers(p *packet, b *Backend) bool {
	reset := p.proto == tcp && p.flags&rst != 0
	known, ended := m.touch(b.requestTuple(p), b, reset)
	if ended && b.shared {
		m.end(p.tuple(), b, Closed)
	}
	return known
}

func (m *Model) touch(t tuple, b *Backend, reset bool) (known, ended bool) {
	l := m.Flows.place(t.hash(&m.config.FlowKey))
	f := l.find()
	if f == nil {
		_, r := m.victim(l)
		return r == live, false
	}
	if f.ID != b.ID {
		return false, false
	}
	to := f.State
	if reset {
		to = Closed
	}
	return true, m.move(&m.Flows, f, to)
}

// requestTuple is that of the request which a packet from b replies to.
func (b *Backend) requestTuple(p *packet) tuple {
	t := tuple{src: p.dst, dst: b.service.VIP, sport: p.dport, dport: p.sport, version: p.version, proto: p.proto}
	if b.Port != 0 {
		t.dport = b.service.Port
	}
	return t
}

// translateBack sends a reply to its client, as if from the VIP. What the
// kernel must do itself, find a neighbour or fragment, it gets translated.
func (m *Model) translateBack(p *packet, b *Backend) Verdict {
	switch {
	case p.hops <= 1:
		return m.refuse(DropTTL)
	case p.lacksChecksum():
		return m.refuse(DropNoChecksum)
	}
	p.limitMSS(b)
	if b.service.Forward == SNAT {
		c := m.clients[m.pairOf(p)]
		p.setDestination(c.addr, int(c.port))
	}
	p.setSource(b.service.VIP, b.vipPort())
	p.hop()
	b.Counters.ReplyPackets++
	b.Counters.ReplyBytes += uint64(len(p.b))
	return m.route(p)
}

func (m *Model) route(p *packet) Verdict {
	src, dst := p.addresses()
	q := Query{Ingress: m.ingress, Version: p.version, Length: p.length}
	if p.version == 4 {
		q.Src, q.Dst = mapped(src), mapped(dst)
	} else {
		q.Src, q.Dst = Addr(src), Addr(dst)
	}
	h := m.config.Route(q)
	if h.Refusal != "" {
		return m.refuse(h.Refusal)
	}
	return m.transmit(h.Interface, h.DstMAC, h.SrcMAC)
}
