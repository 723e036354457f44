package bpf_test

import "slices"

// mutate breaks a packet in one to three ways.
func (g *traffic) mutate(b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + g.n(3) {
		b = g.mutateOnce(b)
	}
	return b
}

func (g *traffic) mutateOnce(b []byte) []byte {
	if len(b) == 0 {
		return b
	}
	switch g.n(10) {
	case 0:
		return b[:g.n(len(b)+1)]
	case 1:
		b[g.n(len(b))] ^= 1 << g.n(8)
	case 2:
		b[g.n(min(len(b), 80))] ^= 1 << g.n(8)
	case 3:
		b[g.n(min(len(b), 80))] = uint8(pick(g.chooser, []int{0, 1, 4, 6, 17, 41, 43, 44, 58, 60, 127, 255}))
	case 4:
		b = append(b, make([]byte, g.n(64))...)
	default:
		g.lie(b)
	}
	return b
}

// lie overwrites a field that matters.
func (g *traffic) lie(b []byte) {
	_, _, l4, ok := fieldsOf(b)
	if !ok {
		return
	}
	small := byte(g.n(256))
	v4 := b[14]>>4 == 4
	switch g.n(9) {
	case 0: // length
		at := 14 + 4
		if v4 {
			at = 14 + 2
		}
		b[at], b[at+1] = byte(g.n(6)), small
	case 1: // version, header length
		b[14] = small
	case 2: // hops
		at := 14 + 7
		if v4 {
			at = 14 + 8
		}
		b[at] = byte(g.n(3))
	case 3: // data offset
		if len(l4) > 12 {
			l4[12] = small
		}
	case 4: // UDP's length, or a sequence number
		l4[4], l4[5] = 0, small
	case 5: // UDP's checksum
		l4[6], l4[7] = 0, 0
	case 6: // fragment
		if v4 {
			b[20], b[21] = byte(g.n(256)), small
		}
	case 7: // checksum of TCP
		if len(l4) > 17 {
			l4[16], l4[17] = byte(255*g.n(2)), byte(255*g.n(2))
		}
	case 8: // protocol
		at := 14 + 6
		if v4 {
			at = 14 + 9
		}
		b[at] = pick(g.chooser, []uint8{tcp, udp, icmp, icmp6, hopByHop, routing, fragmentation, destinations, noNext, 4})
	}
}
