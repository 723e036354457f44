package model

import "encoding/binary"

// fold makes 16 bits of a ones' complement sum. It is 0 only if all that was
// summed is.
func fold(sum uint64) uint16 {
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// words is the sum of whole 16-bit words.
func words(b []byte) (sum uint64) {
	for i := 0; i < len(b); i += 2 {
		sum += uint64(binary.BigEndian.Uint16(b[i:]))
	}
	return sum
}

// gain is what a sum gains when bytes are replaced (RFC 1624, eqn. 3).
func gain(from, to []byte) (sum uint64) {
	for i := 0; i < len(from); i += 2 {
		sum += uint64(^binary.BigEndian.Uint16(from[i:])) + uint64(binary.BigEndian.Uint16(to[i:]))
	}
	return sum
}

// update adds a gain to the checksum in a field. Wrong checksums stay as wrong
// as they were.
func update(field []byte, gain uint64) {
	check := binary.BigEndian.Uint16(field)
	binary.BigEndian.PutUint16(field, ^fold(uint64(^check)+gain))
}

// checksum fills a field with the checksum of bytes in which it is.
func checksum(field []byte, sum uint64, b []byte) {
	field[0], field[1] = 0, 0
	binary.BigEndian.PutUint16(field, ^fold(sum+words(b)))
}
