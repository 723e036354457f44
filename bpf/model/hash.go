package model

import "encoding/binary"

// tuple is a 5-tuple. Ports are numbers, as everywhere in the model.
type tuple struct {
	src, dst     Addr
	sport, dport uint16
	version      uint8
	proto        uint8
}

func (p *packet) tuple() tuple {
	return tuple{p.src, p.dst, p.sport, p.dport, p.version, p.proto}
}

// hash is NH of UMAC (RFC 4418, 5.2.2) over the 5-tuple's words, finished by
// splitmix64. Words are the bytes on the wire as this machine reads them.
func (t tuple) hash(key *[12]uint32) uint64 {
	return t.hashWith(key, uint32(wire(t.dport))<<16|uint32(wire(t.sport)))
}

// hashWith has something else for the ports.
func (t tuple) hashWith(key *[12]uint32, ports uint32) uint64 {
	var h uint64
	k := 0
	add := func(a, b uint32) {
		h += uint64(a+key[k]) * uint64(b+key[k+1])
		k += 2
	}
	add(ports, uint32(t.version)<<8|uint32(t.proto))
	if t.version == 4 {
		add(word(t.src[12:]), word(t.dst[12:]))
		return mix(h)
	}
	for _, a := range []*Addr{&t.src, &t.dst} {
		add(word(a[0:]), word(a[4:]))
		add(word(a[8:]), word(a[12:]))
	}
	return mix(h)
}

func word(b []byte) uint32 { return binary.NativeEndian.Uint32(b) }

// wire is the machine's reading of a port on the wire.
func wire(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}

// mix is the finaliser of splitmix64.
func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

// scale maps 32 bits of hash evenly to 0..n-1.
func scale(hash uint32, n int) int { return int(uint64(hash) * uint64(n) >> 32) }

func high(h uint64) uint32 { return uint32(h >> 32) }

// KeyOf derives the key that picks from a configured seed: splitmix64's stream.
func KeyOf(seed uint64) (key [12]uint32) {
	for i := 0; i < len(key); i += 2 {
		seed += 0x9e3779b97f4a7c15
		v := mix(seed)
		key[i], key[i+1] = uint32(v), high(v)
	}
	return key
}
