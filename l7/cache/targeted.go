package cache

import (
	"bytes"

	"weir/l7/exchange"
)

// readTargeted reads a targeted field (RFC 9213), a Dictionary of Structured
// Fields. ok is false if it is not there, empty or malformed: then it counts
// for nothing.
func readTargeted(h *exchange.Header, name string) (d directives, ok bool) {
	var whole []byte
	for value := range h.Values(name) {
		if whole == nil {
			whole = value
			continue
		}
		whole = append(append(whole[:len(whole):len(whole)], ','), value...)
	}
	members, ok := parseDictionary(whole)
	if !ok || len(members) == 0 {
		return none(), false
	}
	d = none()
	for _, m := range members {
		if m.fits() {
			d.set(m.key, argument{text: m.text, given: m.kind != kindTrue})
		}
	}
	return d, true
}

// kind is the type of a bare item (RFC 9651, 3.3), as far as directives care.
type kind uint8

const (
	kindTrue kind = iota // Boolean true, which a key alone is too
	kindInteger
	kindString
	kindToken
	kindOther // of no type that a directive has
)

type member struct {
	key  []byte
	kind kind
	text []byte // of an integer, a string or a token
}

// fits reports whether the value has the type that its directive has; others
// are not to be used (RFC 9213, 2.1).
func (m *member) fits() bool {
	switch string(m.key) {
	case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
		return m.kind == kindInteger && m.text[0] != '-'
	case "no-cache", "private":
		return m.kind == kindTrue || m.kind == kindString
	}
	return m.kind == kindTrue
}

// parseDictionary reads a Dictionary (RFC 9651, 4.2.2). Of a key that is there
// more than once the last counts.
func parseDictionary(b []byte) ([]member, bool) {
	var all []member
	p := sfParser{bytes.Trim(b, " ")}
	for len(p.rest) > 0 {
		m, ok := p.member()
		if !ok {
			return nil, false
		}
		for i := range all {
			if bytes.Equal(all[i].key, m.key) {
				all = append(all[:i], all[i+1:]...)
				break
			}
		}
		all = append(all, m)
		p.skip(" \t")
		if len(p.rest) == 0 {
			return all, true
		}
		if !p.take(',') {
			return nil, false
		}
		if p.skip(" \t"); len(p.rest) == 0 { // a comma at the end
			return nil, false
		}
	}
	return all, true
}

// sfParser reads Structured Fields from the front of rest.
type sfParser struct{ rest []byte }

func (p *sfParser) skip(cut string) { p.rest = bytes.TrimLeft(p.rest, cut) }

func (p *sfParser) take(c byte) bool {
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// span takes the bytes at the front for which is holds.
func (p *sfParser) span(is func(byte) bool) []byte {
	n := 0
	for n < len(p.rest) && is(p.rest[n]) {
		n++
	}
	taken := p.rest[:n]
	p.rest = p.rest[n:]
	return taken
}

func (p *sfParser) member() (m member, ok bool) {
	if m.key, ok = p.key(); !ok {
		return m, false
	}
	if p.take('=') {
		if m.kind, m.text, ok = p.value(); !ok {
			return m, false
		}
	}
	return m, p.parameters()
}

func (p *sfParser) key() ([]byte, bool) {
	if len(p.rest) == 0 || !isLower(p.rest[0]) && p.rest[0] != '*' {
		return nil, false
	}
	return p.span(func(c byte) bool { return isLower(c) || isDigit(c) || bytes.IndexByte([]byte("_-.*"), c) >= 0 }), true
}

func (p *sfParser) parameters() bool {
	for p.take(';') {
		p.skip(" ")
		if _, ok := p.key(); !ok {
			return false
		}
		if p.take('=') {
			if _, _, ok := p.item(); !ok {
				return false
			}
		}
	}
	return true
}

// value reads an item or an inner list.
func (p *sfParser) value() (kind, []byte, bool) {
	if !p.take('(') {
		return p.item()
	}
	for {
		p.skip(" ")
		if p.take(')') {
			return kindOther, nil, true
		}
		if _, _, ok := p.item(); !ok || !p.parameters() {
			return 0, nil, false
		}
		if len(p.rest) == 0 || p.rest[0] != ' ' && p.rest[0] != ')' {
			return 0, nil, false
		}
	}
}

// item reads a bare item.
func (p *sfParser) item() (kind, []byte, bool) {
	if len(p.rest) == 0 {
		return 0, nil, false
	}
	switch c := p.rest[0]; {
	case c == '-' || isDigit(c):
		return p.number()
	case c == '"':
		p.rest = p.rest[1:]
		return p.text()
	case c == '*' || isLower(c|0x20):
		return kindToken, p.span(func(c byte) bool { return isToken(c) || c == ':' || c == '/' }), true
	case c == '?':
		return p.boolean()
	case c == ':':
		p.rest = p.rest[1:]
		p.span(func(c byte) bool { return isLower(c|0x20) || isDigit(c) || bytes.IndexByte([]byte("+/="), c) >= 0 })
		return kindOther, nil, p.take(':')
	case c == '@':
		p.rest = p.rest[1:]
		k, _, ok := p.number()
		return kindOther, nil, ok && k == kindInteger
	}
	return 0, nil, false
}

// number reads an Integer of up to 15 digits or a Decimal of up to 12 and 3.
func (p *sfParser) number() (kind, []byte, bool) {
	start := p.rest
	p.take('-')
	whole := len(p.span(isDigit))
	if whole == 0 || whole > 15 {
		return 0, nil, false
	}
	if !p.take('.') {
		return kindInteger, start[:len(start)-len(p.rest)], true
	}
	fraction := len(p.span(isDigit))
	return kindOther, nil, whole <= 12 && fraction >= 1 && fraction <= 3
}

func (p *sfParser) boolean() (kind, []byte, bool) {
	p.take('?')
	if p.take('1') {
		return kindTrue, nil, true
	}
	return kindOther, nil, p.take('0')
}

// text reads a String after its first quote.
func (p *sfParser) text() (kind, []byte, bool) {
	text := []byte{}
	for len(p.rest) > 0 {
		c := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case c == '"':
			return kindString, text, true
		case c == '\\':
			if len(p.rest) == 0 || p.rest[0] != '"' && p.rest[0] != '\\' {
				return 0, nil, false
			}
			c = p.rest[0]
			p.rest = p.rest[1:]
		case c < ' ' || c > '~':
			return 0, nil, false
		}
		text = append(text, c)
	}
	return 0, nil, false
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
