// Package validator compares what identifies a representation, entity tags and
// dates (RFC 9110, 8.8), and evaluates the preconditions of a request
// (RFC 9110, 13).
package validator

import (
	"bytes"
	"time"

	"weir/l7/exchange"
)

// Of is what identifies a representation that could be sent.
type Of struct {
	ETag     []byte    // nil: none
	Modified time.Time // Last-Modified; zero: none
	Date     time.Time // when it was made, as in the field Date; zero: unknown
}

// Read takes the validators of a response.
func Read(h *exchange.Header) Of {
	o := Of{ETag: h.Get(exchange.ETag)}
	o.Modified, _ = Date(h.Get(exchange.LastModified))
	o.Date, _ = Date(h.Get(exchange.Date))
	return o
}

// Verdict is what becomes of a request with preconditions.
type Verdict uint8

// Verdicts.
const (
	Proceed     Verdict = iota
	NotModified         // 304
	Failed              // 412
)

// Conditional reports whether a request has a precondition that a cache or an
// origin evaluates.
func Conditional(h *exchange.Header) bool {
	return h.Has(exchange.IfNoneMatch) || h.Has(exchange.IfModifiedSince) ||
		h.Has(exchange.IfMatch) || h.Has(exchange.IfUnmodifiedSince)
}

// Evaluate decides about a GET or HEAD for a representation that exists, in the
// order of RFC 9110, 13.2.2. If-Match and If-Unmodified-Since count only at an
// origin.
func (o Of) Evaluate(h *exchange.Header, origin bool) Verdict {
	if origin && o.lost(h) {
		return Failed
	}
	switch {
	case h.Has(exchange.IfNoneMatch):
		if o.listed(h, "If-None-Match", Weak) {
			return NotModified
		}
	case h.Has(exchange.IfModifiedSince):
		if o.unmodifiedSince(h.Get(exchange.IfModifiedSince)) {
			return NotModified
		}
	}
	return Proceed
}

// lost reports that If-Match or, without it, If-Unmodified-Since is false.
func (o Of) lost(h *exchange.Header) bool {
	if h.Has(exchange.IfMatch) {
		return !o.listed(h, "If-Match", Strong)
	}
	since, ok := Date(h.Get(exchange.IfUnmodifiedSince))
	return ok && !o.Modified.IsZero() && o.Modified.After(since)
}

func (o Of) listed(h *exchange.Header, name string, same func(a, b []byte) bool) bool {
	for value := range h.Values(name) {
		for tag := range Tags(value) {
			if string(tag) == "*" || o.ETag != nil && same(tag, o.ETag) {
				return true
			}
		}
	}
	return false
}

// unmodifiedSince compares with the date of the response where it does not say
// when it was modified (RFC 9111, 4.3.2).
func (o Of) unmodifiedSince(value []byte) bool {
	since, ok := Date(value)
	if !ok {
		return false
	}
	modified := o.Modified
	if modified.IsZero() {
		modified = o.Date
	}
	return !modified.IsZero() && !modified.After(since)
}

// RangeHolds reports whether the Range of a request is to be obeyed: there is no
// If-Range, or it names exactly this representation by a strong validator
// (RFC 9110, 13.1.5).
func (o Of) RangeHolds(h *exchange.Header) bool {
	if !h.Has(exchange.IfRange) {
		return true
	}
	value := h.Get(exchange.IfRange)
	if bytes.IndexByte(value[:min(3, len(value))], '"') >= 0 {
		return o.ETag != nil && Strong(value, o.ETag)
	}
	t, ok := Date(value)
	// A date is strong if the representation did not change within its second
	// (RFC 9110, 8.8.2.2).
	return ok && t.Equal(o.Modified) && !o.Date.IsZero() && o.Date.Sub(o.Modified) >= time.Second
}

// Strong compares two entity tags: equal, and neither weak.
func Strong(a, b []byte) bool { return !IsWeak(a) && bytes.Equal(a, b) }

// Weak compares two entity tags: equal but for W/.
func Weak(a, b []byte) bool {
	return bytes.Equal(bytes.TrimPrefix(a, weakPrefix), bytes.TrimPrefix(b, weakPrefix))
}

// IsWeak reports whether an entity tag is weak.
func IsWeak(tag []byte) bool { return bytes.HasPrefix(tag, weakPrefix) }

var weakPrefix = []byte("W/")

// Tags are the members of a list of entity tags, "*" among them. A comma may be
// part of a tag. What is no tag ends the list.
func Tags(value []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for {
			value = bytes.TrimLeft(value, " \t,")
			n := tagLength(value)
			if n == 0 || !yield(value[:n]) {
				return
			}
			value = value[n:]
		}
	}
}

// tagLength is the length of the entity tag, or *, that b begins with, or 0.
func tagLength(b []byte) int {
	if len(b) > 0 && b[0] == '*' {
		return 1
	}
	start := 0
	if IsWeak(b) {
		start = 2
	}
	if len(b) <= start || b[start] != '"' {
		return 0
	}
	end := bytes.IndexByte(b[start+1:], '"')
	if end < 0 {
		return 0
	}
	return start + 1 + end + 1
}
