package model

import "slices"

// ICMP types and codes (RFC 792, RFC 4443).
const (
	echoReply4    = 0
	unreachable4  = 3
	fragNeeded    = 4 // code
	echo4         = 8
	timeExceeded4 = 11
	parameter4    = 12
	unreachable6  = 1
	tooBig6       = 2
	parameter6    = 4
	echo6         = 128
	echoReply6    = 129

	quotedSize = 8 // of TCP or UDP: ports and a sequence number
)

// control handles ICMP. A VIP answers echo; an error goes to the backend that
// sent what it quotes.
func (m *Model) control(p *packet) Verdict {
	if isError(p.version, p.b[p.l4]) && slices.Contains(m.sources, p.dst) {
		return m.errorToClient(p)
	}
	if !m.hasServices(p.dst, 0) {
		return m.refuse(PassNotVIP)
	}
	if reply, ok := echoed(p.version, p.b[p.l4]); ok {
		if denies(m.config.ACL, p.src) {
			return m.refuse(DropACL)
		}
		return m.answerEcho(p, reply)
	}
	if !isError(p.version, p.b[p.l4]) {
		return m.refuse(PassNotVIP)
	}
	if _, _, t, ok := p.quoted(); ok && m.denied(t) {
		return m.refuse(DropACL)
	}
	b, local := m.culprit(p)
	switch {
	case local:
		return m.refuse(PassLocal)
	case b == nil:
		return m.refuse(DropICMPUnknown)
	}
	_, _, t, _ := p.quoted()
	if b.service.Forward == SNAT {
		return m.errorToBackend(p, b, t)
	}
	return m.forward(p, b, uint32(t.hash(&m.config.FlowKey)))
}

// echoed is the kind of message that answers an echo.
func echoed(version, kind uint8) (reply uint8, ok bool) {
	if version == 4 {
		return echoReply4, kind == echo4
	}
	return echoReply6, kind == echo6
}

func isError(version, kind uint8) bool {
	if version == 6 {
		return kind >= unreachable6 && kind <= parameter6
	}
	return kind == unreachable4 || kind == timeExceeded4 || kind == parameter4
}

// isTooBig: what path MTU discovery needs (RFC 1191, RFC 8201).
func (p *packet) isTooBig() bool {
	kind, code := p.b[p.l4], p.b[p.l4+1]
	if p.version == 6 {
		return kind == tooBig6
	}
	return kind == unreachable4 && code == fragNeeded
}

// answerEcho turns an echo round.
func (m *Model) answerEcho(p *packet, reply uint8) Verdict {
	field := p.b[p.l4 : p.l4+2]
	to := []byte{reply, field[1]}
	check := p.b[p.l4+2 : p.l4+4]
	update(check, gain(field, to))
	if be16(check) == 0 { // of a message that is all zeros 0 would be wrong
		check[0], check[1] = 0xff, 0xff
	}
	copy(field, to)
	src, dst := p.addresses()
	copy(src, p.bytes(&p.dst))
	copy(dst, p.bytes(&p.src))
	m.count(SentEchoReply)
	turned := slices.Concat(p.b[6:12], p.b[:6])
	copy(p.b, turned)
	return TX
}

// quoted finds the packet that an error quotes, from the VIP: where its header
// and its ports are, and the flow that it answered. Another TTL, and a
// checksum, are not looked at.
func (p *packet) quoted() (l3, l4 int, t tuple, ok bool) {
	l3 = p.l4 + icmpSize
	q := p.b[l3 : p.l3+p.length]
	t = tuple{version: p.version}
	header := ip6Size
	var src Addr
	if p.version == 4 {
		if len(q) < ip4Size || q[0]&15 < 5 || be16(q[6:])&0x1fff != 0 { // not the first fragment
			return
		}
		header, t.proto = int(q[0]&15)*4, q[9]
		src, t.src = mapped(q[12:16]), mapped(q[16:20])
	} else {
		if len(q) < ip6Size {
			return
		}
		t.proto, src, t.src = q[6], Addr(q[8:24]), Addr(q[24:40])
	}
	if len(q) < header+quotedSize || !balanced(t.proto) || src != p.dst {
		return
	}
	t.dst = src
	t.dport, t.sport = uint16(be16(q[header:])), uint16(be16(q[header+2:]))
	return l3, l3 + header, t, true
}

// culprit is the backend whose flow an error is about, or none: then it may be
// about the host's own HTTP tier. Too big may be said of another node's flow:
// then it is the backend to which that would go by hash. Everything else that
// quotes no known flow is forged or stale.
func (m *Model) culprit(p *packet) (b *Backend, local bool) {
	_, _, t, ok := p.quoted()
	if !ok {
		return nil, false
	}
	if f := m.Flows.place(t.hash(&m.config.FlowKey)).find(); f != nil {
		return m.backend(f.ID), false
	}
	s := m.service(t)
	switch {
	case s == nil:
		return nil, false
	case s.Forward == L7:
		return nil, true
	case !p.isTooBig():
		return nil, false
	}
	return m.pick(s, t, true), false
}

// translateError makes the quoted packet what the backend had sent: from its
// own address and port. The quoted header's checksum is kept right, that of TCP
// or UDP is not (RFC 5508, 4.2).
func (p *packet) translateError(b *Backend) {
	l3, l4, _, _ := p.quoted()
	end := l4 + quotedSize
	before := append([]byte(nil), p.b[l3:end]...)
	inside := packet{b: p.b, l3: l3, l4: l4, version: p.version}
	src, _ := inside.addresses()
	to := p.bytes(&b.Addr)
	if p.version == 4 {
		update(p.b[l3+10:l3+12], gain(src, to))
	}
	copy(src, to)
	if b.Port != 0 {
		p.b[l4], p.b[l4+1] = byte(b.Port>>8), byte(b.Port)
	}
	update(p.b[p.l4+2:p.l4+4], gain(before, p.b[l3:end]))
}
