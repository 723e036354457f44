// Package route finds out what a request asks for: one canonical path, which
// everything behind it uses, and the rule that fits it best.
package route

import (
	"bytes"

	"weir/l7/exchange"
	"weir/loader/lb"
)

// odd is a set of what readers of a path may disagree about.
type odd uint8

const (
	dots         odd = 1 << iota // "." and ".." segments
	doubleSlash                  // empty segments
	escapedSlash                 // %2F and %5C
	aboveRoot                    // ".." at the top, or "..;" as some servers read it
)

// path is what a request asks for. Its slices are of the request or of the
// exchange's Room.
type path struct {
	routed []byte // canonical, dots resolved and slashes merged: what rules are looked for with
	kept   []byte // the same with empty segments as they came
	odd    odd
}

// Why a path is refused; for logs.
const (
	badByte   = "a byte in the path that a URI cannot have"
	badEscape = "an escape in the path without two hexadecimal digits"
	badNUL    = "a NUL in the path"
	badStart  = "a path that does not begin with /"
)

// Classes of bytes in paths.
const (
	plain   = iota // stands for itself (RFC 3986, 3.3), not / and .
	slash          // begins a segment
	escape         // %
	foreign        // sent by clients though it must be escaped
	never          // refused
)

var classes = func() (c [256]uint8) {
	for i := range c {
		c[i] = foreign
	}
	for i := range 0x21 {
		c[i] = never
	}
	c[0x7f], c['\\'], c['#'] = never, never, never
	for b := byte('a'); b <= 'z'; b++ {
		c[b], c[b-'a'+'A'] = plain, plain
	}
	for _, b := range []byte("0123456789-._~!$&'()*+,;=:@") {
		c[b] = plain
	}
	c['/'], c['%'] = slash, escape
	return c
}()

// unreserved are the bytes whose escapes mean the same as they do (RFC 3986, 2.3).
var unreserved = func() (u [256]bool) {
	for b := byte('a'); b <= 'z'; b++ {
		u[b], u[b-'a'+'A'] = true, true
	}
	for _, b := range []byte("0123456789-._~") {
		u[b] = true
	}
	return u
}()

// readPath finds path and query of a request. why is empty unless the path is
// refused whatever a rule says.
func readPath(x *exchange.Exchange) (p path, why string) {
	q := &x.Request
	raw := q.Path
	if len(q.Target) > 0 && q.Target[0] == '/' {
		raw, q.Query = q.Target, nil
		if mark := bytes.IndexByte(raw, '?'); mark >= 0 {
			raw, q.Query = raw[:mark], raw[mark+1:]
		}
	}
	if isStar := len(raw) == 1 && raw[0] == '*'; isStar && string(q.Method) == "OPTIONS" || len(raw) == 0 && string(q.Method) == "CONNECT" {
		return path{routed: raw[:0], kept: raw}, "" // fits rules for all paths
	}
	if len(raw) == 0 || raw[0] != '/' {
		return path{}, badStart
	}
	if isCanonical(raw) {
		return path{routed: raw, kept: raw}, ""
	}
	return canonical(x, raw)
}

// Canonical gives a path that weir itself made the form that all paths have:
// what is foreign to paths is escaped and empty segments go. It is false for
// what would lead elsewhere: dot segments, NUL and the like. The result is raw
// or of the exchange's Room.
func Canonical(x *exchange.Exchange, raw []byte) ([]byte, bool) {
	if len(raw) == 0 || raw[0] != '/' {
		return nil, false
	}
	if isCanonical(raw) {
		return raw, true
	}
	p, why := canonical(x, raw)
	return p.routed, why == "" && p.odd&(dots|aboveRoot) == 0
}

// isCanonical reports whether a path is already as it shall be, and has
// nothing that needs a closer look.
func isCanonical(raw []byte) bool {
	for i, c := range raw {
		switch classes[c] {
		case plain:
		case slash:
			if i+1 < len(raw) && (raw[i+1] == '/' || raw[i+1] == '.') {
				return false
			}
		default:
			return false
		}
	}
	return true
}

const upperHex = "0123456789ABCDEF"

// canonical is readPath for the rarer paths.
func canonical(x *exchange.Exchange, raw []byte) (p path, why string) {
	b := x.Room(3 * len(raw))
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch classes[c] {
		case plain, slash:
			b = append(b, c)
		case foreign:
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		case never:
			return path{}, badByte
		case escape:
			if i+2 >= len(raw) || unhex(raw[i+1]) > 15 || unhex(raw[i+2]) > 15 {
				return path{}, badEscape
			}
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
			switch {
			case c == 0:
				return path{}, badNUL
			case unreserved[c]:
				b = append(b, c)
				continue
			case c == '/' || c == '\\':
				p.odd |= escapedSlash
			}
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	p.kept, p.odd = resolve(b, b[:0], p.odd, false)
	p.routed = p.kept
	if p.odd&doubleSlash != 0 {
		p.routed, _ = resolve(p.kept, x.Room(len(p.kept)), p.odd, true)
	}
	return p, ""
}

// resolve writes a path without dot segments and, if merge says so, without
// empty ones to to, which may be the same memory.
func resolve(from, to []byte, o odd, merge bool) ([]byte, odd) {
	for i := 0; i < len(from); { // from[i] is a slash
		end := i + 1
		for end < len(from) && from[end] != '/' {
			end++
		}
		segment, last := from[i+1:end], end == len(from)
		name, _, hasParams := bytes.Cut(segment, []byte(";"))
		isDot, isDots := string(name) == ".", string(name) == ".."
		switch {
		case (isDot || isDots) && hasParams:
			o |= dots | aboveRoot
			to = append(to, from[i:end]...)
		case isDot, isDots:
			o |= dots
			if isDots {
				cut := bytes.LastIndexByte(to, '/')
				if cut < 0 {
					o, cut = o|aboveRoot, 0
				}
				to = to[:cut]
			}
			if last {
				to = append(to, '/')
			}
		case len(segment) == 0 && !last:
			o |= doubleSlash
			if !merge {
				to = append(to, '/')
			}
		default:
			to = append(to, from[i:end]...)
		}
		i = end
	}
	return to, o
}

// unhex is above 15 for what is no hexadecimal digit.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}

// apply gives the path that a rule's policy makes of p, or why it is refused.
// again says that the path must be routed anew.
func (p path) apply(x *exchange.Exchange, policy lb.PathPolicy) (sent []byte, again bool, why string) {
	if p.odd == 0 {
		return p.kept, false, ""
	}
	switch {
	case p.odd&aboveRoot != 0:
		return nil, false, "a path that leads above the root, or may be read so"
	case p.odd&dots != 0 && policy.Dots != lb.PathResolve:
		return nil, false, "dot segments in the path"
	case p.odd&doubleSlash != 0 && policy.DoubleSlash == lb.PathRefuse:
		return nil, false, "an empty segment in the path"
	case p.odd&(doubleSlash|dots) == doubleSlash|dots && policy.DoubleSlash == lb.PathKeep:
		return nil, false, "empty segments beside dot segments in the path"
	case p.odd&escapedSlash != 0 && policy.EscapedSlash == lb.PathRefuse:
		return nil, false, "an escaped slash in the path"
	}
	sent = p.kept
	if policy.DoubleSlash == lb.PathResolve {
		sent = p.routed
	}
	if p.odd&escapedSlash == 0 || policy.EscapedSlash == lb.PathKeep {
		return sent, false, ""
	}
	return decodeSlashes(x.Room(len(sent)), sent), true, ""
}

func decodeSlashes(to, from []byte) []byte {
	for i := 0; i < len(from); i++ {
		if from[i] == '%' {
			if code := string(from[i+1 : i+3]); code == "2F" || code == "5C" {
				to = append(to, '/')
				i += 2
				continue
			}
		}
		to = append(to, from[i])
	}
	return to
}
