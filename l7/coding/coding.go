// Package coding reads which content codings a client accepts and chooses one
// (RFC 9110, 12.5.3).
package coding

import (
	"bytes"

	"weir/l7/exchange"
)

// Coding is a content coding that weir can make.
type Coding uint8

// Codings. Identity is none.
const (
	Identity Coding = iota
	Brotli
	Zstd
	Gzip
	Codings // how many there are
)

var names = [Codings]string{Identity: "identity", Brotli: "br", Zstd: "zstd", Gzip: "gzip"}

// String is the coding as in Content-Encoding.
func (c Coding) String() string { return names[c] }

// Parse finds a coding by its name, in any case.
func Parse(name string) (Coding, bool) {
	c := find([]byte(name))
	return c, c < Codings
}

func find(name []byte) Coding {
	for c, n := range names {
		if len(n) == len(name) && bytes.EqualFold(name, []byte(n)) {
			return Coding(c)
		}
	}
	if bytes.EqualFold(name, []byte("x-gzip")) { // RFC 9110, 8.4.1.3
		return Gzip
	}
	return Codings
}

// Accepted is what a client accepts: the weight of each coding in thousandths,
// 0: not acceptable.
type Accepted [Codings]uint16

const full = 1000

// Read reads Accept-Encoding. A request without it accepts anything, but is
// given no coding: clients that say nothing are seldom able to decode.
func Read(h *exchange.Header) Accepted {
	a := Accepted{Identity: full}
	if !h.Has(exchange.AcceptEncoding) {
		return a
	}
	listed, others := [Codings]bool{}, -1
	for _, f := range h.Fields() {
		if f.ID != exchange.AcceptEncoding {
			continue
		}
		for value := f.Value; len(value) > 0; {
			var member []byte
			member, value, _ = bytes.Cut(value, comma)
			name, q, ok := parseMember(member)
			if !ok {
				continue
			}
			if string(name) == "*" {
				others = int(q)
			} else if c := find(name); c < Codings && !listed[c] {
				a[c], listed[c] = q, true
			}
		}
	}
	for c := range a {
		if others >= 0 && !listed[c] && (Coding(c) != Identity || others == 0) {
			a[c] = uint16(others)
		}
	}
	return a
}

var comma = []byte(",")

// parseMember reads one coding and its weight. What is malformed is not
// acceptable.
func parseMember(member []byte) (name []byte, q uint16, ok bool) {
	name, params, weighted := bytes.Cut(member, []byte(";"))
	name = bytes.Trim(name, " \t")
	if !weighted {
		return name, full, len(name) > 0
	}
	q, ok = parseWeight(bytes.Trim(params, " \t"))
	return name, q, ok && len(name) > 0
}

// parseWeight reads q=0 to q=1 with up to three decimals (RFC 9110, 12.4.2).
func parseWeight(b []byte) (uint16, bool) {
	if len(b) < 3 || len(b) > 7 || b[0]|0x20 != 'q' || b[1] != '=' || b[2] != '0' && b[2] != '1' {
		return 0, false
	}
	q, digits := uint16(b[2]-'0'), b[3:]
	if len(digits) > 0 && digits[0] != '.' {
		return 0, false
	}
	for i := 1; i <= 3; i++ {
		q *= 10
		if i < len(digits) {
			if digits[i] < '0' || digits[i] > '9' {
				return 0, false
			}
			q += uint16(digits[i] - '0')
		}
	}
	return q, q <= full
}

// Best chooses among the offers, in the server's order where the client has no
// preference, and against Identity only if the client accepts the coding at
// least as much. Without an acceptable offer it is Identity, acceptable or not:
// a response without coding is better than none (RFC 9110, 12.5.3).
func (a Accepted) Best(offers []Coding) Coding {
	best, weight := Identity, uint16(0)
	for _, c := range offers {
		if a[c] > weight {
			best, weight = c, a[c]
		}
	}
	return best
}

// Canonical is an Accept-Encoding that names the acceptable codings of weir in
// a fixed order without weights, nil if there are none. Requests with the same
// share what Vary: Accept-Encoding tells apart. ok is false if the client does
// not accept Identity, which this form cannot say.
func (a Accepted) Canonical() (value []byte, ok bool) {
	set := 0
	for c := Brotli; c < Codings; c++ {
		if a[c] > 0 {
			set |= 1 << (c - 1)
		}
	}
	return canonical[set], a[Identity] > 0
}

// canonical are the values by set of codings. Nobody changes them.
var canonical = func() (all [1 << (Codings - 1)][]byte) {
	for set := range all {
		for c := Brotli; c < Codings; c++ {
			if set>>(c-1)&1 == 0 {
				continue
			}
			if len(all[set]) > 0 {
				all[set] = append(all[set], ", "...)
			}
			all[set] = append(all[set], names[c]...)
		}
	}
	return all
}()
