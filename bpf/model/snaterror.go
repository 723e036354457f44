package model

import "encoding/binary"

// errorToBackend sends an error about a reply of snat to the backend: what it
// quotes becomes what the backend had sent, to the flow's pair. The error seems to
// come from there, too.
func (m *Model) errorToBackend(p *packet, b *Backend, t tuple) Verdict {
	pair := -1
	for _, l := range m.pairPlaces(t) {
		if f := l.find(); f != nil && f.ID == b.ID && pair < 0 {
			pair = l.pair(f)
		}
	}
	switch {
	case pair < 0:
		return m.refuse(DropICMPUnknown)
	case b.Interface == 0:
		return m.refuse(DropNoNextHop)
	case p.hops <= 1:
		return m.refuse(DropTTL)
	}
	q := tuple{src: b.Addr, sport: t.dport, dst: m.sources[pair/portsOfSource], dport: uint16(firstPort + pair%portsOfSource)}
	if b.Port != 0 {
		q.sport = b.Port
	}
	p.requote(q)
	b.Counters.Packets++
	b.Counters.Bytes += uint64(len(p.b))
	return m.transmit(b.Interface, b.DstMAC, b.SrcMAC)
}

// errorToClient sends an error about a request of snat to the client, from the
// VIP. What is about no flow of ours is the host's own.
func (m *Model) errorToClient(p *packet) Verdict {
	_, _, t, ok := p.quoted() // as the backend's answer would be
	if !ok {
		return m.refuse(PassNotVIP)
	}
	pair := m.pairAt(t.dst, t.dport)
	if pair < 0 {
		return m.refuse(PassNotVIP)
	}
	b := m.backend(m.holder(pair).ID)
	if b == nil || b.service.Forward != SNAT || b.service.Proto != t.proto || b.Addr != t.src || b.Port != 0 && b.Port != t.sport {
		return m.refuse(PassNotVIP)
	}
	if p.hops <= 1 {
		return m.refuse(DropTTL)
	}
	c := m.clients[pair]
	q := tuple{src: c.addr, sport: c.port, dst: b.service.VIP, dport: t.sport}
	if b.Port != 0 {
		q.dport = b.service.Port
	}
	p.requote(q)
	b.Counters.ReplyPackets++
	b.Counters.ReplyBytes += uint64(len(p.b))
	return m.route(p)
}

// requote makes the quoted packet that of q, and the error one from q's
// destination to q's source. The quoted header's checksum is kept right, that of
// TCP or UDP is not (RFC 5508, 4.2).
func (p *packet) requote(q tuple) {
	l3, l4, _, _ := p.quoted()
	end := l4 + quotedSize
	before := append([]byte(nil), p.b[l3:end]...)
	inside := packet{b: p.b, l3: l3, l4: l4, version: p.version}
	inside.readdress(0, q.src)
	inside.readdress(1, q.dst)
	binary.BigEndian.PutUint16(p.b[l4:], q.sport)
	binary.BigEndian.PutUint16(p.b[l4+2:], q.dport)
	update(p.b[p.l4+2:p.l4+4], gain(before, p.b[l3:end]))
	p.setSource(q.dst, keep)
	p.setDestination(q.src, keep)
	p.hop()
}
