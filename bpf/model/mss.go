package model

import "encoding/binary"

const (
	mssAuto  = 1
	mssKind  = 2
	mssSize  = 4
	mssLeast = 88
)

// limitMSS lowers the maximum segment size that a SYN states (RFC 9293, 3.7.1)
// to what its service says, or to what fits the way to the backend.
func (p *packet) limitMSS(b *Backend) {
	if p.proto != tcp || p.flags&syn == 0 || b.service.MSS == 0 {
		return
	}
	most := p.largestSegment(b)
	options := p.b[p.l4+tcpSize : p.l4+int(p.b[p.l4+12]>>4)*4]
	for len(options) >= mssSize && most >= mssLeast {
		switch size := int(options[1]); {
		case options[0] == 0:
			return
		case options[0] == 1:
			options = options[1:]
			continue
		case options[0] == mssKind && size == mssSize:
			p.lowerMSS(options[2:4], most)
			return
		case size < 2 || size > len(options):
			return
		default:
			options = options[size:]
		}
	}
}

func (p *packet) largestSegment(b *Backend) int {
	if b.service.MSS != mssAuto {
		return b.service.MSS
	}
	most := b.MTU - tcpSize - ip4Size
	if p.version == 6 {
		most = b.MTU - tcpSize - ip6Size
	}
	if b.service.Forward == IPIP || b.service.Forward == GUE {
		most -= b.overhead()
	}
	return most
}

// lowerMSS may have to do with bytes of two words.
func (p *packet) lowerMSS(field []byte, most int) {
	if be16(field) <= most {
		return
	}
	header := p.b[p.l4 : p.l4+int(p.b[p.l4+12]>>4)*4]
	before := append([]byte(nil), header...)
	binary.BigEndian.PutUint16(field, uint16(most))
	update(p.b[p.l4+16:p.l4+18], gain(before, header))
}
