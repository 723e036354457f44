package filter

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"regexp"

	"weir/l7/exchange"
	"weir/l7/route"
	"weir/l7/value"
	"weir/loader/lb"
)

// rewriting is lb.Rewrite compiled.
type rewriting struct {
	path        value.Text
	host        value.Text
	strip, add  []byte
	expression  *regexp.Regexp
	replacement []byte
	set         []parameter
	remove      []string // names that are removed, those of set included
}

type parameter struct {
	name  string // escaped
	value value.Text
}

// Rewrite changes what the backend is asked for. The request is as it was again
// when the response comes back.
func Rewrite(o lb.Rewrite, path lb.PathMatch) (Filter, error) {
	r, err := newRewriting(o, path)
	if err != nil {
		return nil, err
	}
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			q := &x.Request
			before := struct{ path, query, authority []byte }{q.Path, q.Query, q.Authority}
			if !r.apply(x) {
				q.Path, q.Query, q.Authority = before.path, before.query, before.authority
				x.Fail(http.StatusBadRequest, "the rewritten path leads elsewhere")
				return
			}
			next.Serve(x)
			q.Path, q.Query, q.Authority = before.path, before.query, before.authority
		})
	}, nil
}

func newRewriting(o lb.Rewrite, path lb.PathMatch) (*rewriting, error) {
	r := &rewriting{strip: []byte(o.StripPrefix), add: []byte(o.AddPrefix), replacement: []byte(o.Replacement), remove: o.RemoveQuery}
	for _, prefix := range []*[]byte{&r.strip, &r.add} {
		*prefix = bytes.TrimSuffix(*prefix, []byte("/"))
	}
	var err error
	if r.path, err = value.NewURI(o.Path, path); err != nil {
		return nil, fmt.Errorf("rewritten path: %w", err)
	}
	if r.host, err = value.New(o.Host, path); err != nil {
		return nil, fmt.Errorf("rewritten host: %w", err)
	}
	if o.Regexp != "" {
		if r.expression, err = regexp.Compile(o.Regexp); err != nil {
			return nil, fmt.Errorf("rewriting: %w", err)
		}
	}
	for _, p := range o.SetQuery {
		text, err := value.New(p.Value, path)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", p.Name, err)
		}
		r.set = append(r.set, parameter{url.QueryEscape(p.Name), text})
		r.remove = append(r.remove[:len(r.remove):len(r.remove)], p.Name)
	}
	return r, nil
}

// apply is false if the path that comes out is none.
func (r *rewriting) apply(x *exchange.Exchange) bool {
	q := &x.Request
	path, query, ok := q.Path, q.Query, true
	switch {
	case !r.path.Empty():
		path, ok = route.Canonical(x, r.path.Of(x))
	case r.expression != nil:
		if path = r.expression.ReplaceAll(path, r.replacement); len(path) == 0 {
			path = append(path, '/')
		}
		path, ok = route.Canonical(x, path)
	case len(r.strip)+len(r.add) > 0:
		path = r.prefixes(x, path)
	}
	if len(r.remove) > 0 {
		query = r.parameters(x, query)
	}
	host := q.Authority
	if !r.host.Empty() {
		host = r.host.Of(x)
	}
	q.Path, q.Query, q.Authority = path, query, host
	return ok
}

func (r *rewriting) prefixes(x *exchange.Exchange, path []byte) []byte {
	if rest, is := bytes.CutPrefix(path, r.strip); is && (len(rest) == 0 || rest[0] == '/') {
		path = rest
	}
	if len(r.add) > 0 || len(path) == 0 {
		b := append(x.Room(len(r.add)+len(path)+1), r.add...)
		if path = append(b, path...); len(path) == 0 {
			path = append(path, '/')
		}
	}
	return path
}

// parameters is the query without those that are removed and with those that
// are set.
func (r *rewriting) parameters(x *exchange.Exchange, query []byte) []byte {
	var stack [512]byte
	b := stack[:0]
	for len(query) > 0 {
		pair := query
		if i := bytes.IndexByte(query, '&'); i >= 0 {
			pair, query = query[:i], query[i+1:]
		} else {
			query = nil
		}
		if len(pair) > 0 && !r.removes(pair) {
			b = append(appendAnd(b), pair...)
		}
	}
	for i := range r.set {
		b = append(append(appendAnd(b), r.set[i].name...), '=')
		b = append(b, url.QueryEscape(string(r.set[i].value.Of(x)))...)
	}
	return append(x.Room(len(b)), b...)
}

func (r *rewriting) removes(pair []byte) bool {
	for _, name := range r.remove {
		if route.IsParameter(pair, name) {
			return true
		}
	}
	return false
}

func appendAnd(b []byte) []byte {
	if len(b) > 0 {
		b = append(b, '&')
	}
	return b
}
