package route

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"weir/l7/exchange"
	"weir/loader/lb"
)

// Rule is what a table is made of.
type Rule struct {
	Name    string
	Match   lb.Match
	Paths   lb.PathPolicy
	Handler exchange.Handler
}

// rule is a Rule compiled.
type rule struct {
	*Rule
	order      int // in the list
	conditions conditions
	whole      *regexp.Regexp // of the path, nil: not by expression
	parts      bool           // the path must go on behind what is matched, if only by a slash
}

// Table finds the rule that fits a request best; docs/l7.md says what that is.
// It does not change and is for any number of goroutines.
type Table struct {
	hosts     map[string]*level
	wildcards map[string]*level // by what comes after "*."
	anyHost   *level
}

// level is the rules of one host.
type level struct {
	paths   node
	regexps []*rule // in order
	rest    []*rule // without a path
}

// New compiles rules. An error names the rule and what cannot be matched.
func New(rules []Rule) (*Table, error) {
	t := &Table{hosts: map[string]*level{}, wildcards: map[string]*level{}, anyHost: &level{}}
	for i := range rules {
		c := &rule{Rule: &rules[i], order: i}
		if err := c.compile(); err != nil {
			return nil, fmt.Errorf("route %s: %w", c.Name, err)
		}
		for _, l := range t.levels(c.Match.Hosts) {
			if err := l.add(c); err != nil {
				return nil, fmt.Errorf("route %s: path %q %w", c.Name, c.Match.Path.Text, err)
			}
		}
	}
	t.each(func(l *level) { l.sort() })
	return t, nil
}

func (r *rule) compile() (err error) {
	if r.Match.Path.Kind == lb.RegexpPath {
		if r.whole, err = regexp.Compile("^(?:" + r.Match.Path.Text + ")$"); err != nil {
			return err
		}
	}
	r.conditions, err = newConditions(r.Match)
	return err
}

func (t *Table) each(do func(*level)) {
	do(t.anyHost)
	for _, all := range []map[string]*level{t.hosts, t.wildcards} {
		for _, l := range all {
			do(l)
		}
	}
}

// levels are those that a rule belongs to.
func (t *Table) levels(hosts []string) []*level {
	if len(hosts) == 0 {
		return []*level{t.anyHost}
	}
	var all []*level
	for _, host := range hosts {
		into, name := t.hosts, host
		if below, is := strings.CutPrefix(host, "*."); is {
			into, name = t.wildcards, below
		}
		if into[name] == nil {
			into[name] = &level{}
		}
		all = append(all, into[name])
	}
	return all
}

func (l *level) add(r *rule) error {
	switch r.Match.Path.Kind {
	case lb.AnyPath:
		l.rest = append(l.rest, r)
	case lb.RegexpPath:
		l.regexps = append(l.regexps, r)
	default:
		return l.paths.add(r)
	}
	return nil
}

func (l *level) sort() {
	l.paths.sort()
	sortRules(l.rest)
}

// sortRules puts rules with more conditions first, then those that come first
// in the file.
func sortRules(rules []*rule) {
	slices.SortStableFunc(rules, func(a, b *rule) int {
		return cmp.Or(cmp.Compare(b.Match.Conditions(), a.Match.Conditions()), cmp.Compare(a.order, b.order))
	})
}

// search is one look-up.
type search struct {
	x       *exchange.Exchange
	path    []byte
	methods bool // some rule did not fit for its method only

	tried func(r *rule, why string) // nil: nobody asks
}

// find is nil if no rule fits.
func (t *Table) find(s *search, host []byte) *rule {
	if l := t.hosts[string(host)]; l != nil {
		if r := l.find(s); r != nil {
			return r
		}
	}
	if len(t.wildcards) > 0 {
		for dot := bytes.IndexByte(host, '.'); dot >= 0; {
			below := host[dot+1:]
			if l := t.wildcards[string(below)]; l != nil && dot > 0 {
				if r := l.find(s); r != nil {
					return r
				}
			}
			next := bytes.IndexByte(below, '.')
			if next < 0 {
				break
			}
			dot += 1 + next
		}
	}
	return t.anyHost.find(s)
}

func (l *level) find(s *search) *rule {
	found, whole := l.paths.find(s, s.path)
	if whole {
		return found
	}
	for _, r := range l.regexps {
		if !r.whole.Match(s.path) {
			s.note(r, "the path does not fit")
		} else if s.fits(r) {
			return r
		}
	}
	if found != nil {
		return found
	}
	return s.first(l.rest, false)
}

// first is the first of rules, which fit by host and path, that fits.
func (s *search) first(rules []*rule, atEnd bool) *rule {
	for _, r := range rules {
		if (!r.parts || !atEnd) && s.fits(r) {
			return r
		}
	}
	return nil
}

func (s *search) fits(r *rule) bool {
	why := r.conditions.miss(s.x)
	if why == missMethod {
		s.methods = true
	}
	s.note(r, why)
	return why == ""
}

func (s *search) note(r *rule, why string) {
	if s.tried != nil {
		s.tried(r, why)
	}
}

// Hostname is an authority without port and last dot.
func Hostname(authority []byte) []byte {
	if n := len(authority); n > 0 && authority[n-1] != ']' {
		if colon := bytes.LastIndexByte(authority, ':'); colon >= 0 {
			authority = authority[:colon]
		}
	}
	return bytes.TrimSuffix(authority, []byte("."))
}
