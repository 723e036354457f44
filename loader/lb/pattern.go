package lb

import (
	"fmt"
	"strings"
)

// Segment is one part of a path pattern, between slashes.
type Segment struct {
	Text string // literal text, or the name of what it captures ("" of an unnamed rest)
	Kind SegmentKind
}

// SegmentKind is what a segment matches.
type SegmentKind uint8

// Kinds of segments.
const (
	LiteralSegment SegmentKind = iota
	OneSegment                 // {name}: any one segment that is not empty
	RestSegment                // {name...}: all that is left
	EndSegment                 // {$}: nothing, behind a last slash
)

// ParsePattern reads a path pattern as net/http has it: "/items/{id}/{rest...}",
// with {$} for an end after a slash. A pattern that ends with a slash matches
// all below. Errors continue a sentence that begins with the pattern.
func ParsePattern(s string) ([]Segment, error) {
	if !strings.HasPrefix(s, "/") {
		return nil, fmt.Errorf("does not begin with /")
	}
	var all []Segment
	parts := strings.Split(s[1:], "/")
	names := map[string]bool{}
	for i, part := range parts {
		last := i == len(parts)-1
		if part == "" && last {
			return append(all, Segment{Kind: RestSegment}), nil
		}
		seg, err := parseSegment(part, last)
		if err != nil {
			return nil, err
		}
		if named := seg.Kind == OneSegment || seg.Kind == RestSegment; named && names[seg.Text] {
			return nil, fmt.Errorf("captures %s twice", seg.Text)
		} else if named {
			names[seg.Text] = true
		}
		all = append(all, seg)
	}
	return all, nil
}

func parseSegment(part string, last bool) (Segment, error) {
	name, isName := strings.CutPrefix(part, "{")
	if isName {
		name, isName = strings.CutSuffix(name, "}")
	}
	if !isName {
		if part == "" || strings.ContainsAny(part, "{}") {
			return Segment{}, fmt.Errorf("has the segment %q; braces stand around a whole segment, and only the last may be empty", part)
		}
		return Segment{Text: part}, nil
	}
	if name == "$" {
		if !last {
			return Segment{}, fmt.Errorf("has {$} before its end")
		}
		return Segment{Kind: EndSegment}, nil
	}
	kind := OneSegment
	if rest, is := strings.CutSuffix(name, "..."); is {
		if !last {
			return Segment{}, fmt.Errorf("has {%s} before its end", name)
		}
		name, kind = rest, RestSegment
	}
	if !isIdentifier(name) {
		return Segment{}, fmt.Errorf("has the capture %q, which is not a letter followed by letters, digits and _", name)
	}
	return Segment{Text: name, Kind: kind}, nil
}

func isIdentifier(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}
