package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Error is one fault of a configuration file.
type Error struct {
	File  string
	Line  int    // 1 is the first
	Field string // "pools[0].backends[1].weight"; empty for the whole file
	What  string // what is wrong, with the value, and what is allowed

	column int
}

func (e *Error) Error() string {
	field := e.Field
	if field != "" {
		field += ": "
	}
	return fmt.Sprintf("%s:%d: %s%s", e.File, e.Line, field, e.What)
}

// report gathers the faults of one file.
type report struct {
	file   string
	root   *yaml.Node
	faults []*Error
	faulty map[string]bool // fields with a fault
}

func newReport(file string) *report {
	return &report{file: file, faulty: map[string]bool{}}
}

// line reports a fault of the file as a whole.
func (r *report) line(line int, format string, args ...any) {
	r.node(&yaml.Node{Line: line}, top, format, args...)
}

// field reports a fault in a field, or where a field would have to be.
func (r *report) field(p *path, format string, args ...any) {
	_, begin := p.find(r.root)
	r.node(begin, p, format, args...)
}

// node reports a fault in a field, at a node.
func (r *report) node(n *yaml.Node, p *path, format string, args ...any) {
	what := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
	field := p.String()
	r.faults = append(r.faults, &Error{File: r.file, Line: max(n.Line, 1), Field: field, What: what, column: n.Column})
	r.faulty[field] = true
}

// missing reports that a field is not there, unless it was and had a fault.
func (r *report) missing(p *path, allowed string) {
	if !r.known(p) {
		r.field(p, "is missing; it is %s", allowed)
	}
}

// known tells whether a fault was found in the field or in what it is part
// of, so that nothing can be said about its value.
func (r *report) known(p *path) bool {
	for ; p != nil; p = p.parent {
		if r.faulty[p.String()] {
			return true
		}
	}
	return false
}

// err is nil if there are no faults.
func (r *report) err() error {
	slices.SortStableFunc(r.faults, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.column, b.column))
	})
	errs := make([]error, len(r.faults))
	for i, f := range r.faults {
		errs[i] = f
	}
	return errors.Join(errs...)
}
