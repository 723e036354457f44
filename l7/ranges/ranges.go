// Package ranges reads the field Range and makes of a whole response the parts
// that it asks for (RFC 9110, 14).
package ranges

import (
	"bytes"
	"math"
)

// Range is a part of a representation, in bytes. Length is at least 1.
type Range struct{ Start, Length int64 }

// Result is what a Range says of a representation.
type Result uint8

// Results.
const (
	Whole         Result = iota // the field is to be ignored
	Parts                       // at least one range
	Unsatisfiable               // 416
)

// most is how many ranges of one request are obeyed; more are ignored, as
// RFC 9110, 14.2 and 17.15 allow.
const most = 32

// Parse appends to dst the parts of size bytes that a Range asks for, in its
// order. A field of another unit, one that is malformed, and one that asks for
// more than the whole representation or for more than two parts that overlap is
// ignored.
func Parse(dst []Range, value []byte, size int64) ([]Range, Result) {
	set, ok := cutUnit(value)
	if !ok {
		return dst, Whole
	}
	base, specs := len(dst), 0
	for spec := range bytes.SplitSeq(set, []byte(",")) {
		spec = bytes.Trim(spec, " \t")
		if len(spec) == 0 { // an empty member of a list (RFC 9110, 5.6.1)
			continue
		}
		r, ok := parseSpec(spec, size)
		specs++
		if !ok || specs > most {
			return dst[:base], Whole
		}
		if r.Length > 0 {
			dst = append(dst, r)
		}
	}
	parts := dst[base:]
	switch {
	case specs == 0 || size == 0:
		return dst[:base], Whole
	case len(parts) == 0:
		return dst, Unsatisfiable
	case excessive(parts, size):
		return dst[:base], Whole
	}
	return dst, Parts
}

// cutUnit cuts "bytes=" off, in any case.
func cutUnit(value []byte) ([]byte, bool) {
	unit, set, ok := bytes.Cut(value, []byte("="))
	return set, ok && bytes.EqualFold(unit, []byte("bytes"))
}

// parseSpec reads first-last, first- or -length. The Length is 0 where no byte
// of the representation is meant.
func parseSpec(spec []byte, size int64) (Range, bool) {
	from, to, ok := bytes.Cut(spec, []byte("-"))
	if !ok {
		return Range{}, false
	}
	if len(from) == 0 {
		n, ok := number(to)
		n = min(n, size)
		return Range{size - n, n}, ok
	}
	first, ok := number(from)
	if !ok {
		return Range{}, false
	}
	last := size - 1
	if len(to) > 0 {
		if last, ok = number(to); !ok || last < first {
			return Range{}, false
		}
		last = min(last, size-1)
	}
	return Range{first, max(0, last-first+1)}, true
}

// number reads digits; what does not fit is as far as can be.
func number(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (math.MaxInt64-9)/10 {
			n = math.MaxInt64
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// excessive reports parts that a client has no good reason to ask for.
func excessive(parts []Range, size int64) bool {
	if len(parts) == 1 {
		return false
	}
	total, overlaps := int64(0), 0
	for i, p := range parts {
		total += p.Length
		for _, q := range parts[:i] {
			if p.Start < q.Start+q.Length && q.Start < p.Start+p.Length {
				overlaps++
			}
		}
	}
	return total > size || overlaps > 1
}
