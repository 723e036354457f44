package model

// lacksChecksum: in IPv6 UDP must have one (RFC 8200, 8.1), or there is nothing
// to update.
func (p *packet) lacksChecksum() bool {
	return p.version == 6 && p.proto == udp && be16(p.b[p.l4+6:]) == 0
}

// hop takes one.
func (p *packet) hop() {
	if p.version == 6 {
		p.b[p.l3+7]--
		return
	}
	p.rewriteIP4(8, []byte{p.b[p.l3+8] - 1, p.b[p.l3+9]})
}

// rewriteIP4 changes bytes of an IPv4 header and its checksum.
func (p *packet) rewriteIP4(at int, to []byte) {
	field := p.b[p.l3+at : p.l3+at+len(to)]
	update(p.b[p.l3+10:p.l3+12], gain(field, to))
	copy(field, to)
}

// keep stands for the port that a packet has.
const keep = -1

// setSource and setDestination change an address and, if the packet has one, a
// port, with all checksums that cover them.
func (p *packet) setSource(a Addr, port int)      { p.rewrite(0, a, port) }
func (p *packet) setDestination(a Addr, port int) { p.rewrite(1, a, port) }

// realPort and vipPort are what a backend's packets get and had.
func (b *Backend) realPort() int {
	if b.Port == 0 {
		return keep
	}
	return int(b.Port)
}

func (b *Backend) vipPort() int {
	if b.Port == 0 {
		return keep
	}
	return int(b.service.Port)
}

// rewrite changes the addresses' and ports' first or second.
func (p *packet) rewrite(which int, a Addr, port int) {
	fields := [2][]byte{}
	fields[0], fields[1] = p.addresses()
	field, to := fields[which], p.bytes(&a)
	sum := gain(field, to)
	if p.version == 4 {
		update(p.b[p.l3+10:p.l3+12], sum)
	}
	copy(field, to)
	if port != keep && !p.isICMP() {
		at := p.b[p.l4+2*which : p.l4+2*which+2]
		b := [2]byte{byte(port >> 8), byte(port)}
		sum += gain(at, b[:])
		copy(at, b[:])
	}
	p.updateTransport(sum)
}

// updateTransport: the checksum of TCP and UDP covers addresses too, that of
// ICMPv6 likewise (RFC 4443, 2.3), that of ICMP does not.
func (p *packet) updateTransport(gain uint64) {
	switch p.proto {
	case tcp:
		update(p.b[p.l4+16:p.l4+18], gain)
	case udp:
		field := p.b[p.l4+6 : p.l4+8]
		if be16(field) == 0 {
			return // has none (RFC 768)
		}
		update(field, gain)
		if be16(field) == 0 {
			field[0], field[1] = 0xff, 0xff
		}
	case icmp6:
		update(p.b[p.l4+2:p.l4+4], gain)
	}
}
