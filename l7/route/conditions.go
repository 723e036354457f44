package route

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"slices"

	"weir/l7/addrset"
	"weir/l7/exchange"
	"weir/loader/lb"
)

// conditions are what a rule asks for besides host and path.
type conditions struct {
	methods []string
	headers []condition
	query   []condition
	cookies []condition
	sources *addrset.Set // nil: any
}

type condition struct {
	lb.Condition
	id         exchange.Name
	name       []byte
	expression *regexp.Regexp
}

func newConditions(m lb.Match) (c conditions, err error) {
	c.methods = m.Methods
	if len(m.Sources) > 0 {
		set := addrset.New(m.Sources)
		c.sources = &set
	}
	for _, l := range []struct {
		from []lb.Condition
		to   *[]condition
	}{{m.Headers, &c.headers}, {m.Query, &c.query}, {m.Cookies, &c.cookies}} {
		for _, raw := range l.from {
			one := condition{Condition: raw, id: exchange.NameOf(raw.Name), name: []byte(raw.Name)}
			if raw.Op == lb.MatchesRegexp {
				if one.expression, err = regexp.Compile(raw.Value); err != nil {
					return c, fmt.Errorf("condition on %s: %w", raw.Name, err)
				}
			}
			*l.to = append(*l.to, one)
		}
	}
	return c, nil
}

// Why a rule does not fit.
const (
	missSource = "the source does not fit"
	missHeader = "a header does not fit"
	missQuery  = "the query does not fit"
	missCookie = "a cookie does not fit"
	missMethod = "the method does not fit"
)

// miss says why a request does not fit, or nothing. The method comes last: if
// it is all that is wrong, that is said to the client.
func (c *conditions) miss(x *exchange.Exchange) string {
	if c.sources != nil && !c.sources.Has(x.Source) {
		return missSource
	}
	for i := range c.headers {
		if !c.headers[i].fitsHeader(&x.Request.Header) {
			return missHeader
		}
	}
	for i := range c.query {
		if !c.query[i].fitsQuery(x.Request.Query) {
			return missQuery
		}
	}
	for i := range c.cookies {
		if !c.cookies[i].fitsCookie(&x.Request.Header) {
			return missCookie
		}
	}
	if len(c.methods) > 0 && !slices.ContainsFunc(c.methods, func(m string) bool { return m == string(x.Request.Method) }) {
		return missMethod
	}
	return ""
}

// one takes a value into account: done says that the answer is fits.
func (c *condition) one(v []byte) (fits, done bool) {
	if c.Op == lb.IsAbsent {
		return false, true
	}
	return true, c.compare(v)
}

func (c *condition) fitsHeader(h *exchange.Header) bool {
	fields := h.Fields()
	for i := range fields {
		f := &fields[i]
		if f.ID != c.id || c.id == exchange.Other && !bytes.EqualFold(f.Text, c.name) {
			continue
		}
		if fits, done := c.one(f.Value); done {
			return fits
		}
	}
	return c.Op == lb.IsAbsent
}

func (c *condition) fitsQuery(query []byte) bool {
	for len(query) > 0 {
		var v []byte
		var found bool
		if v, query, found = NextParameter(query, c.Name); !found {
			break
		}
		if fits, done := c.one(v); done {
			return fits
		}
	}
	return c.Op == lb.IsAbsent
}

func (c *condition) fitsCookie(h *exchange.Header) bool {
	fields := h.Fields()
	for i := range fields {
		line := fields[i].Value
		for fields[i].ID == exchange.Cookie && len(line) > 0 {
			var v []byte
			var found bool
			if v, line, found = NextCookie(line, c.Name); !found {
				break
			}
			if fits, done := c.one(v); done {
				return fits
			}
		}
	}
	return c.Op == lb.IsAbsent
}

func (c *condition) compare(v []byte) bool {
	switch c.Op {
	case lb.IsExact:
		return string(v) == c.Value
	case lb.HasPrefix:
		return len(v) >= len(c.Value) && string(v[:len(c.Value)]) == c.Value
	case lb.HasSuffix:
		return len(v) >= len(c.Value) && string(v[len(v)-len(c.Value):]) == c.Value
	case lb.Contains:
		return bytes.Contains(v, []byte(c.Value))
	case lb.MatchesRegexp:
		return c.expression.Match(v)
	}
	return true
}

// NextParameter is the decoded value of a query's first parameter of a name,
// and what is behind it. Parameters that cannot be decoded are left out.
func NextParameter(query []byte, name string) (value, rest []byte, found bool) {
	for len(query) > 0 {
		pair := query
		if i := bytes.IndexByte(query, '&'); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			query = nil
		}
		if len(pair) == 0 {
			continue
		}
		key, value := pair, pair[len(pair):]
		if i := bytes.IndexByte(pair, '='); i >= 0 {
			key, value = pair[:i], pair[i+1:]
		}
		if k, ok := decoded(key); !ok || string(k) != name {
			continue
		}
		if v, ok := decoded(value); ok {
			return v, query, true
		}
	}
	return nil, nil, false
}

func decoded(b []byte) ([]byte, bool) {
	if bytes.IndexByte(b, '%') < 0 && bytes.IndexByte(b, '+') < 0 {
		return b, true
	}
	s, err := url.QueryUnescape(string(b))
	return []byte(s), err == nil
}

// NextCookie is the value of the first cookie of a name in a Cookie field, and
// what is behind it (RFC 6265, 4.2.1).
func NextCookie(line []byte, name string) (value, rest []byte, found bool) {
	for len(line) > 0 {
		pair := line
		if i := bytes.IndexByte(line, ';'); i >= 0 {
			pair, line = line[:i], line[i+1:]
		} else {
			line = nil
		}
		pair = bytes.TrimSpace(pair)
		if i := bytes.IndexByte(pair, '='); i >= 0 && string(pair[:i]) == name {
			return bytes.Trim(pair[i+1:], `"`), line, true
		}
	}
	return nil, nil, false
}

// IsParameter reports whether a part of a query, between &, is a parameter of
// a name.
func IsParameter(pair []byte, name string) bool {
	if i := bytes.IndexByte(pair, '='); i >= 0 {
		pair = pair[:i]
	}
	key, ok := decoded(pair)
	return ok && string(key) == name
}
