package route

import (
	"bytes"
	"fmt"
	"strings"

	"weir/loader/lb"
)

// node is a point between two segments of a path. How many nodes there are
// does not matter to a look-up: it goes down one way, and others only where a
// {name} stands beside a text.
type node struct {
	texts map[string]*node
	one   *node   // {name}
	ends  []*rule // the path ends here
	below []*rule // whatever comes
}

func (n *node) add(r *rule) error {
	text := r.Match.Path.Text
	switch r.Match.Path.Kind {
	case lb.PrefixPath:
		if text = strings.TrimSuffix(text, "/"); text != "" {
			n = n.way(strings.Split(text[1:], "/"))
		}
		n.below = append(n.below, r)
		return nil
	case lb.ExactPath:
		if !strings.HasPrefix(text, "/") {
			return fmt.Errorf("does not begin with /")
		}
		n = n.way(strings.Split(text[1:], "/"))
		n.ends = append(n.ends, r)
		return nil
	}
	segments, err := lb.ParsePattern(text)
	if err != nil {
		return err
	}
	for _, s := range segments {
		switch s.Kind {
		case lb.LiteralSegment:
			n = n.text(s.Text)
		case lb.OneSegment:
			if n.one == nil {
				n.one = &node{}
			}
			n = n.one
		case lb.EndSegment:
			n = n.text("")
		case lb.RestSegment:
			r.parts = true
			n.below = append(n.below, r)
			return nil
		}
	}
	n.ends = append(n.ends, r)
	return nil
}

func (n *node) way(texts []string) *node {
	for _, t := range texts {
		n = n.text(t)
	}
	return n
}

func (n *node) text(s string) *node {
	if n.texts == nil {
		n.texts = map[string]*node{}
	}
	if n.texts[s] == nil {
		n.texts[s] = &node{}
	}
	return n.texts[s]
}

func (n *node) sort() {
	sortRules(n.ends)
	sortRules(n.below)
	if n.one != nil {
		n.one.sort()
	}
	for _, next := range n.texts {
		next.sort()
	}
}

// find looks for the rule that fits rest, which is empty or begins with a slash.
// whole tells that the rule is for this very path, and not for all below.
func (n *node) find(s *search, rest []byte) (r *rule, whole bool) {
	if len(rest) == 0 {
		if r = s.first(n.ends, true); r != nil {
			return r, true
		}
		return s.first(n.below, true), false
	}
	segment, after := rest[1:], rest[len(rest):]
	if i := bytes.IndexByte(segment, '/'); i >= 0 {
		segment, after = segment[:i], segment[i:]
	}
	if next := n.texts[string(segment)]; next != nil {
		if r, whole = next.find(s, after); r != nil {
			return r, whole
		}
	}
	if n.one != nil && len(segment) > 0 {
		if r, whole = n.one.find(s, after); r != nil {
			return r, whole
		}
	}
	return s.first(n.below, false), false
}
