// Package value writes text with values of a request in it.
package value

import (
	"bytes"
	"fmt"
	"regexp"

	"weir/l7/exchange"
	"weir/loader/lb"
)

// Text is a compiled template. It does not change and is for any number of
// goroutines. The zero value is empty.
type Text struct {
	pieces []piece
	escape bool // values that clients choose are escaped, as in a URI's segment
}

type piece struct {
	text []byte // if append is nil
	add  func(b []byte, x *exchange.Exchange) []byte
	open bool // a client chooses the value freely
}

// New compiles a template. Control characters in values of headers, cookies and
// parameters are written as ?. Names that are no variable are captures of the path.
func New(t lb.Template, path lb.PathMatch) (Text, error) {
	captures, err := capturesOf(path)
	if err != nil {
		return Text{}, err
	}
	var out Text
	for _, p := range t {
		one := piece{text: []byte(p.Text)}
		if p.Var != "" {
			one.open = p.Arg != ""
			if one.add = variable(p.Var, p.Arg); one.add == nil {
				one.add = captures[p.Var]
			}
			if one.add == nil {
				return Text{}, fmt.Errorf("no value is called %q", p.Var)
			}
		}
		out.pieces = append(out.pieces, one)
	}
	return out, nil
}

// NewURI is New for what becomes part of a URI: values of headers, cookies and
// parameters are escaped, so that they stay inside a segment.
func NewURI(t lb.Template, path lb.PathMatch) (Text, error) {
	text, err := New(t, path)
	text.escape = true
	return text, err
}

// Empty reports whether there is nothing to write, whatever the request.
func (t Text) Empty() bool { return len(t.pieces) == 0 }

// Append writes to b.
func (t Text) Append(b []byte, x *exchange.Exchange) []byte {
	for i := range t.pieces {
		p := &t.pieces[i]
		switch {
		case p.add == nil:
			b = append(b, p.text...)
		case p.open:
			start := len(b)
			if b = p.add(b, x); t.escape {
				b = escapeFrom(b, start)
			} else {
				visible(b[start:])
			}
		default:
			b = p.add(b, x)
		}
	}
	return b
}

// Of is the text for an exchange, valid until that has ended. The bytes of text
// without values are the same each time: nobody may change them.
func (t Text) Of(x *exchange.Exchange) []byte {
	if len(t.pieces) == 1 && t.pieces[0].add == nil {
		return t.pieces[0].text
	}
	var stack [256]byte
	b := t.Append(stack[:0], x)
	return append(x.Room(len(b)), b...)
}

// visible replaces control characters, which parameters may hold once they are
// decoded: they could end a field or a line of a log.
func visible(b []byte) {
	for i, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			b[i] = '?'
		}
	}
}

// escapeFrom escapes what is behind start but unreserved bytes (RFC 3986, 2.3).
func escapeFrom(b []byte, start int) []byte {
	if !bytes.ContainsFunc(b[start:], func(c rune) bool { return c >= 0x80 || !unreserved(byte(c)) }) {
		return b
	}
	raw := bytes.Clone(b[start:])
	b = b[:start]
	for _, c := range raw {
		if unreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', "0123456789ABCDEF"[c>>4], "0123456789ABCDEF"[c&15])
		}
	}
	return b
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// capturesOf gives the values that a path's match captures, by name. They are
// found anew in each path, so that nothing must be kept for requests.
func capturesOf(m lb.PathMatch) (map[string]func([]byte, *exchange.Exchange) []byte, error) {
	all := map[string]func([]byte, *exchange.Exchange) []byte{}
	switch m.Kind {
	case lb.PatternPath:
		segments, err := lb.ParsePattern(m.Text)
		if err != nil {
			return nil, fmt.Errorf("pattern %q %w", m.Text, err)
		}
		for i, s := range segments {
			if s.Kind == lb.OneSegment || s.Kind == lb.RestSegment {
				all[s.Text] = segment(i, s.Kind == lb.RestSegment)
			}
		}
	case lb.RegexpPath:
		re, err := regexp.Compile("^(?:" + m.Text + ")$")
		if err != nil {
			return nil, err
		}
		for i, name := range re.SubexpNames() {
			if name != "" {
				all[name] = group(re, i)
			}
		}
	}
	return all, nil
}

// segment is one of a path, or that and all behind it.
func segment(n int, rest bool) func([]byte, *exchange.Exchange) []byte {
	return func(b []byte, x *exchange.Exchange) []byte {
		path := x.Request.Path
		for range n + 1 {
			i := bytes.IndexByte(path, '/')
			if i < 0 {
				return b
			}
			path = path[i+1:]
		}
		if i := bytes.IndexByte(path, '/'); i >= 0 && !rest {
			path = path[:i]
		}
		return append(b, path...)
	}
}

func group(re *regexp.Regexp, n int) func([]byte, *exchange.Exchange) []byte {
	return func(b []byte, x *exchange.Exchange) []byte {
		if found := re.FindSubmatch(x.Request.Path); found != nil {
			b = append(b, found[n]...)
		}
		return b
	}
}
