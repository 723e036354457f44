package h1

import "encoding/binary"

// Classes of bytes (RFC 9110, 5.6.2; RFC 9112, 3; RFC 3986, 3.2).
const (
	tokenByte  = 1 << iota // of methods and field names
	targetByte             // of a request target: visible ASCII but #
	hostByte               // of a host with a port: reg-name, IP literal
)

// classes tells which classes each byte is of. Nobody changes it.
var classes = func() (all [256]uint8) {
	for c := '!'; c <= '~'; c++ {
		if c != '#' {
			all[c] |= targetByte
		}
	}
	alnum := func(class uint8) {
		for c := 'a'; c <= 'z'; c++ {
			all[c] |= class
			all[c-'a'+'A'] |= class
		}
		for c := '0'; c <= '9'; c++ {
			all[c] |= class
		}
	}
	alnum(tokenByte | hostByte)
	for _, c := range "!#$%&'*+-.^_`|~" {
		all[c] |= tokenByte
	}
	for _, c := range "-._~%!$&'()*+,;=:[]" {
		all[c] |= hostByte
	}
	return all
}()

// all reports whether every byte of b is of a class.
func all(b []byte, class uint8) bool {
	for _, c := range b {
		if classes[c]&class == 0 {
			return false
		}
	}
	return true
}

const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

// visible reports whether b may be the value of a field: no control characters
// but tabs. It takes eight bytes at a time for as long as none is odd.
func visible(b []byte) bool {
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*lows
		if ((x-0x20*lows)&^x|(del-lows)&^del)&highs != 0 && !visibleSlow(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return visibleSlow(b)
}

func visibleSlow(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// fold reports whether b is text, which is in lower case, in any case.
func fold(b []byte, text string) bool {
	if len(b) != len(text) {
		return false
	}
	for i, c := range b {
		if lower(c) != text[i] {
			return false
		}
	}
	return true
}
