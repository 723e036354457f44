package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[size]()
	segmentType  = reflect.TypeFor[segment]()
)

// checkShape holds a YAML tree against the type that shape points to: keys
// that are unknown or there twice, and values of another type, are reported
// and taken out of the tree. It is false if nothing is left.
//
// The YAML and the mapstructure libraries would find most of this too, but
// stop at the first fault, convert types silently or do not know the line.
func checkShape(r *report, root *yaml.Node, shape any) bool {
	return checkValue(r, root, reflect.TypeOf(shape).Elem(), top)
}

func checkValue(r *report, n *yaml.Node, t reflect.Type, p *path) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case n.Kind == yaml.AliasNode:
		r.node(n, p, "aliases (*%s) are not supported; write the value out", n.Value)
	case n.ShortTag() == "!!null":
		r.node(n, p, "has no value; want %s, or leave the key out", want(t))
	case !fits(n, t):
		r.node(n, p, "%s is not %s", describe(n), want(t))
	case t.Kind() == reflect.Struct:
		checkKeys(r, n, t, p)
		return true
	case t.Kind() == reflect.Slice:
		checkItems(r, n, t.Elem(), p)
		return true
	default:
		return true
	}
	return false
}

// fits tells whether a node is of a type, its parts aside.
func fits(n *yaml.Node, t reflect.Type) bool {
	isOwn := t == amountType || t == durationType || t == sizeType || t == segmentType
	switch tag := n.ShortTag(); {
	case !isOwn && t.Kind() == reflect.Struct:
		return n.Kind == yaml.MappingNode && tag == "!!map"
	case !isOwn && t.Kind() == reflect.Slice:
		return n.Kind == yaml.SequenceNode && tag == "!!seq"
	case n.Kind != yaml.ScalarNode:
		return false
	case isOwn:
		return fitsOwn(n, t, tag)
	}
	return fitsKind(n, t.Kind(), n.ShortTag())
}

// fitsOwn is fits for scalars that are written in a way of their own.
func fitsOwn(n *yaml.Node, t reflect.Type, tag string) bool {
	switch t {
	case amountType:
		return tag == "!!str" || tag == "!!int" || tag == "!!float"
	case durationType:
		_, err := time.ParseDuration(n.Value)
		return tag == "!!str" && err == nil
	case sizeType:
		_, err := size(n.Value).parse()
		return (tag == "!!str" || tag == "!!int") && err == nil
	}
	return tag == "!!int" || tag == "!!str" && n.Value == autoSegment // segmentType
}

// fitsKind is fits for the scalars of YAML.
func fitsKind(n *yaml.Node, k reflect.Kind, tag string) bool {
	switch k {
	case reflect.Bool:
		return (n.Value == "true" || n.Value == "false") && tag == "!!bool"
	case reflect.Int64:
		var i int64
		return tag == "!!int" && n.Decode(&i) == nil
	case reflect.Uint64:
		var u uint64
		return tag == "!!int" && n.Decode(&u) == nil
	}
	return tag == "!!str"
}

// want names a type.
func want(t reflect.Type) string {
	switch {
	case t == amountType:
		return "a number, or a percentage such as 80%"
	case t == durationType:
		return "a duration such as 30s or 15m"
	case t == sizeType:
		return sizeLike
	case t == segmentType:
		return "a whole number or " + autoSegment
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Struct:
		return "a mapping of " + strings.Join(keysOf(t), ", ")
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Int64:
		return "a whole number"
	case t.Kind() == reflect.Uint64:
		return "a whole number in 0..18446744073709551615"
	}
	return "text (put it in quotes if it looks like a number)"
}

// describe shows a node in an error, long ones cut short.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return quote(n.Value)
}

// quote is for values of any length and with any characters.
func quote(s string) string {
	const most = 80
	if runes := []rune(s); len(runes) > most {
		return fmt.Sprintf("%q...", string(runes[:most]))
	}
	return fmt.Sprintf("%q", s)
}

func checkItems(r *report, n *yaml.Node, t reflect.Type, p *path) {
	for i, item := range n.Content {
		if !checkValue(r, item, t, p.item(i)) {
			// Keeps the places of the others.
			n.Content[i] = blank(t, item)
		}
	}
}

// blank stands in for an item of type t that had a fault.
func blank(t reflect.Type, n *yaml.Node) *yaml.Node {
	b := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Line: n.Line, Column: n.Column}
	if t.Kind() == reflect.Struct {
		b.Kind, b.Tag = yaml.MappingNode, "!!map"
	}
	return b
}

func checkKeys(r *report, n *yaml.Node, t reflect.Type, p *path) {
	kept := n.Content[:0:0]
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if checkKey(r, key, t, p, first) && checkValue(r, value, fieldOf(t, key.Value), p.key(key.Value)) {
			kept = append(kept, key, value)
		}
	}
	n.Content = kept
}

// checkKey notes the lines of the keys seen so far in first.
func checkKey(r *report, key *yaml.Node, t reflect.Type, p *path, first map[string]int) bool {
	if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || fieldOf(t, key.Value) == nil {
		r.node(key, p.key(keyName(key)), "unknown key; allowed are %s", strings.Join(keysOf(t), ", "))
		return false
	}
	if line := first[key.Value]; line > 0 {
		r.node(key, p.key(key.Value), "is already in line %d", line)
		return false
	}
	first[key.Value] = key.Line
	return true
}

// keyName is a key as it appears in errors: plain where it reads as one.
func keyName(key *yaml.Node) string {
	if key.Kind == yaml.ScalarNode && checkName(key.Value) == nil {
		return key.Value
	}
	return describe(key)
}

func fieldOf(t reflect.Type, key string) reflect.Type {
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("mapstructure") == key {
			return f.Type
		}
	}
	return nil
}

func keysOf(t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		keys = append(keys, t.Field(i).Tag.Get("mapstructure"))
	}
	return keys
}
