package bpf_test

import "encoding/binary"

// checksumCases: the checksum of UDP has a value that means none.
func checksumCases(f family) []packetCase {
	d, n := dsr(f.dns, f.a), nat(f.dns, f.a)
	q := packet(udp, f.client, at(f.dns))
	r := n.reply(q)
	out := []packetCase{
		{"UDP checksum turns 0 and is written as ffff", one(n), list(
			summing(q, func(g frame) frame { return n.through(g) }, 0xffff).sent(n).opens(n))},
		{"UDP checksum ffff becomes another", one(n), list(
			summing(q, same, 0xffff).sent(n).opens(n))},
		{"UDP checksum 1 becomes another", one(n), list(summing(q, same, 1).sent(n).opens(n))},
		{"reply: UDP checksum turns 0 and is written as ffff", one(n), list(
			q.sent(n).opens(n), summing(r, n.back, 0xffff).answered(n).replies(n))},
		{"reply: UDP checksum ffff becomes another", one(n), list(
			q.sent(n).opens(n), summing(r, same, 0xffff).answered(n).replies(n))},
		{"DSR does not care for UDP without checksum", one(d), list(q.unchecked().sent(d).opens(d))},
	}
	if f.client.Addr().Is4() {
		return append(out,
			packetCase{"UDP without checksum stays without", one(n), list(q.unchecked().sent(n).opens(n))},
			packetCase{"reply: UDP without checksum stays without", one(n), list(
				q.sent(n).opens(n), r.unchecked().answered(n).replies(n))})
	}
	return append(out,
		packetCase{"NAT drops UDP without checksum", one(n), list(
			q.unchecked().dropped("no_checksum").move(n, counts{flows: 1, active: 1}))},
		packetCase{"reply: NAT drops UDP without checksum", one(n), list(
			q.sent(n).opens(n), r.unchecked().dropped("no_checksum"))})
}

func same(f frame) frame { return f }

// summing gives f data with which its checksum, once changed, is `want`.
func summing(f frame, change func(frame) frame, want uint16) frame {
	for n := range 1 << 16 {
		f = f.with(binary.BigEndian.AppendUint16([]byte("data"), uint16(n)))
		if binary.BigEndian.Uint16(change(f).transport()[6:]) == want {
			return f
		}
	}
	panic("no data gives this checksum")
}
