package model

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
		f.spoil()
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
			f.spoil()
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
