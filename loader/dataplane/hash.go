package dataplane

import (
	"encoding/binary"
	"net/netip"

	"weir/loader/lb"
)

// tuple is a 5-tuple as bpf/hash.h sees it: addresses and ports are the bytes
// on the wire, read as words of this machine.
type tuple struct {
	src, dst     netip.Addr
	sport, dport uint16 // host order
	proto        lb.Proto
}

func mix64(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

func nh(key []uint32, a, b uint32) uint64 {
	return uint64(a+key[0]) * uint64(b+key[1])
}

// hash is hash_tuple in bpf/hash.h.
func (t tuple) hash(key *[12]uint32) uint64 {
	ports := uint32(wirePort(t.dport))<<16 | uint32(wirePort(t.sport))
	k := key[:]
	if t.src.Is4() {
		h := nh(k, ports, 4<<8|uint32(t.proto))
		return mix64(h + nh(k[2:], words(t.src)[3], words(t.dst)[3]))
	}
	h := nh(k, ports, 6<<8|uint32(t.proto))
	s, d := words(t.src), words(t.dst)
	h += nh(k[2:], s[0], s[1]) + nh(k[4:], s[2], s[3])
	h += nh(k[6:], d[0], d[1]) + nh(k[8:], d[2], d[3])
	return mix64(h)
}

// words gives an address as in struct address: 16 bytes, IPv4 mapped.
func words(a netip.Addr) [4]uint32 {
	b := a.As16()
	var w [4]uint32
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

// prefixWords gives the address of a prefix, zero for the zero Prefix.
func prefixWords(p netip.Prefix) [4]uint32 {
	if !p.IsValid() {
		return [4]uint32{}
	}
	return words(p.Addr())
}

func addrOf(w [4]uint32) netip.Addr {
	var b [16]byte
	for i, v := range w {
		binary.NativeEndian.PutUint32(b[4*i:], v)
	}
	return netip.AddrFrom16(b).Unmap()
}

// wirePort turns a port into a word whose bytes in memory are those on the
// wire, and back.
func wirePort(p uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], p)
	return binary.NativeEndian.Uint16(b[:])
}

// flowPlace is flow_locate in bpf/flow.h.
func flowPlace(hash uint64, sets uint32) (set, tag uint32) {
	tag = uint32(hash)
	if tag == 0 {
		tag = 1
	}
	return uint32((hash >> 32) * uint64(sets) >> 32), tag
}

// pickKey derives the key that picks from the configured seed: splitmix64's
// stream, so that any two seeds give unrelated keys.
func pickKey(seed uint64) [12]uint32 {
	var key [12]uint32
	for i := 0; i < len(key); i += 2 {
		seed += 0x9e3779b97f4a7c15
		v := mix64(seed)
		key[i], key[i+1] = uint32(v), uint32(v>>32)
	}
	return key
}

// filterBit is the bit of real_filter for an address; see real_maybe in
// bpf/nat.h.
func filterBit(a netip.Addr) uint32 {
	w := words(a)
	fold := w[3]
	if a.Is6() {
		fold = w[0] ^ w[1] ^ w[2] ^ w[3]
	}
	return fold * 0x9e3779b1 >> 16
}

// checksumDelta is what a ones' complement sum gains when from is replaced by
// to (RFC 1624); both are as long, in whole 16-bit words.
func checksumDelta(from, to []byte) uint16 {
	gone := make([]byte, len(from), len(from)+len(to))
	for i, b := range from {
		gone[i] = ^b
	}
	return onesSum(append(gone, to...))
}

// onesSum is the ones' complement sum of whole 16-bit words, as they lie in
// memory.
func onesSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.NativeEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
