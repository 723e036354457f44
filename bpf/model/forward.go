package model

// forward sends a packet to a backend. hash is the flow's, of which tunnels
// make their source.
func (m *Model) forward(p *packet, b *Backend, hash uint32) Verdict {
	if r := m.obstacle(p, b); r != "" {
		return m.refuse(r)
	}
	length := len(p.b)
	switch b.service.Forward {
	case SNAT:
		source, ok := m.source(p, b)
		if !ok {
			return m.refuse(DropSNATExhausted)
		}
		p.limitMSS(b)
		p.setSource(source.addr, int(source.port))
		p.setDestination(b.Addr, b.realPort())
		p.hop()
	case NAT:
		p.limitMSS(b)
		if p.isICMP() {
			p.translateError(b)
		}
		p.setDestination(b.Addr, b.realPort())
		p.hop()
	case DSR:
		p.limitMSS(b)
	case IPIP, GUE:
		p.limitMSS(b)
		if p.length+b.overhead() > b.MTU {
			return m.tooBig(p, b.MTU-b.overhead())
		}
		m.encapsulate(p, b, hash)
	}
	b.Counters.Packets++
	b.Counters.Bytes += uint64(length)
	return m.transmit(b.Interface, b.DstMAC, b.SrcMAC)
}

// obstacle is what keeps a packet from its backend, "" if nothing.
func (m *Model) obstacle(p *packet, b *Backend) Reason {
	translated := b.service.Forward == NAT || b.service.Forward == SNAT
	switch {
	case b.Interface == 0:
		return DropNoNextHop
	case p.hops == 0 || p.hops == 1 && translated:
		return DropTTL
	case translated && p.lacksChecksum():
		return DropNoChecksum
	}
	return ""
}

func (m *Model) transmit(to int, dst, src [6]byte) Verdict {
	copy(m.result.Frame, dst[:])
	copy(m.result.Frame[6:], src[:])
	if m.below(to) == m.ingress {
		return TX
	}
	return Redirect
}
