package cache

import (
	"bytes"
	"slices"
	"strings"

	"weir/l7/exchange"
)

// selecting is a field of the request that chose an answer (RFC 9111, 4.1).
type selecting struct {
	id      exchange.Name
	name    string // lower case
	value   string // of all its lines, normalised
	present bool
}

func variesOnAll(h *exchange.Header) bool {
	for name := range varyNames(h) {
		if string(name) == "*" {
			return true
		}
	}
	return false
}

// varyNames are the members of Vary.
func varyNames(h *exchange.Header) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for value := range h.Values("Vary") {
			for name := range bytes.SplitSeq(value, []byte(",")) {
				if name = bytes.Trim(name, " \t"); len(name) > 0 && !yield(name) {
					return
				}
			}
		}
	}
}

// selectBy notes what of a request chose an answer, by the answer's Vary.
func selectBy(request, response *exchange.Header) []selecting {
	var all []selecting
	for name := range varyNames(response) {
		lower := strings.ToLower(string(name))
		if slices.ContainsFunc(all, func(s selecting) bool { return s.name == lower }) {
			continue
		}
		s := selecting{id: exchange.NameOf(lower), name: lower}
		var b []byte
		b, s.present = appendNormal(nil, request, s.id, lower)
		s.value = string(b)
		all = append(all, s)
	}
	return all
}

// appendNormal appends the value of all lines of a field as one list, without
// the white space that may be around its commas.
func appendNormal(b []byte, h *exchange.Header, id exchange.Name, name string) (_ []byte, present bool) {
	if id != exchange.Other && !h.Has(id) {
		return b, false
	}
	// Header.Values would cost an allocation for each field.
	for _, f := range h.Fields() {
		if !is(&f, id, name) {
			continue
		}
		if present {
			b = append(b, ',')
		}
		present = true
		start := len(b)
		b = appendTight(b, f.Value)
		if name == "accept-language" { // tags mean the same in any case (RFC 5646, 2.1.1)
			copy(b[start:], bytes.ToLower(b[start:]))
		}
	}
	return b, present
}

// is reports whether a field has a name, in any case.
func is(f *exchange.Field, id exchange.Name, name string) bool {
	return f.ID == id && (id != exchange.Other || len(f.Text) == len(name) && strings.EqualFold(string(f.Text), name))
}

// appendTight appends a value without the white space around its commas.
func appendTight(b, value []byte) []byte {
	quoted := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted && i+1 < len(value):
			b = append(b, c)
			i++
			c = value[i]
		case isSpace(c) && !quoted:
			end := i
			for end < len(value) && isSpace(value[end]) {
				end++
			}
			if i > 0 && value[i-1] != ',' && end < len(value) && value[end] != ',' {
				b = append(b, value[i:end]...)
			}
			i = end - 1
			continue
		}
		b = append(b, c)
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// matches reports whether a request has the same value.
func (s *selecting) matches(h *exchange.Header) bool {
	var buf [128]byte // longer values cost an allocation
	value, present := appendNormal(buf[:0], h, s.id, s.name)
	return present == s.present && string(value) == s.value
}
