package filter

import (
	"bytes"
	"fmt"
	"strings"

	"weir/l7/exchange"
	"weir/l7/value"
	"weir/loader/lb"
)

// edits is lb.HeaderEdits compiled.
type edits struct {
	remove   []string // whole names
	prefixes [][]byte // begins of names, in lower case
	set, add []edit
}

type edit struct {
	id    exchange.Name
	name  []byte
	value value.Text
}

func newEdits(o lb.HeaderEdits, path lb.PathMatch) (*edits, error) {
	e := &edits{}
	for _, name := range o.Remove {
		if begin, is := strings.CutSuffix(name, "*"); is {
			e.prefixes = append(e.prefixes, []byte(begin))
		} else {
			e.remove = append(e.remove, name)
		}
	}
	for _, l := range []struct {
		from []lb.HeaderValue
		to   *[]edit
	}{{o.Set, &e.set}, {o.Add, &e.add}} {
		for _, v := range l.from {
			text, err := value.New(v.Value, path)
			if err != nil {
				return nil, fmt.Errorf("header %s: %w", v.Name, err)
			}
			*l.to = append(*l.to, edit{exchange.NameOf(v.Name), []byte(v.Name), text})
		}
	}
	return e, nil
}

func (e *edits) apply(x *exchange.Exchange, h *exchange.Header) {
	for _, name := range e.remove {
		h.Del(name)
	}
	if len(e.prefixes) > 0 {
		h.DelFunc(e.hasPrefix)
	}
	for i := range e.set {
		s := &e.set[i]
		v := s.value.Of(x) // may be of what it replaces
		h.Del(string(s.name))
		if len(v) > 0 {
			h.Append(s.id, s.name, v)
		}
	}
	for i := range e.add {
		if v := e.add[i].value.Of(x); len(v) > 0 {
			h.Append(e.add[i].id, e.add[i].name, v)
		}
	}
}

func (e *edits) hasPrefix(f *exchange.Field) bool {
	for _, p := range e.prefixes {
		if len(f.Text) >= len(p) && bytes.EqualFold(f.Text[:len(p)], p) {
			return true
		}
	}
	return false
}

// RequestHeaders edits what the backend is sent. path is what captures are of.
func RequestHeaders(o lb.HeaderEdits, path lb.PathMatch) (Filter, error) {
	e, err := newEdits(o, path)
	if err != nil {
		return nil, err
	}
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			e.apply(x, &x.Request.Header)
			next.Serve(x)
		})
	}, nil
}

// ResponseHeaders edits what the client is sent, weir's own errors included.
func ResponseHeaders(o lb.HeaderEdits, path lb.PathMatch) (Filter, error) {
	e, err := newEdits(o, path)
	if err != nil {
		return nil, err
	}
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			next.Serve(x)
			x.Response.Prebuilt = nil // its bytes have the fields as they were
			e.apply(x, &x.Response.Header)
		})
	}, nil
}
