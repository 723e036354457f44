// Package filter holds what is done to requests and responses between the
// protocols and what answers, one file each. A filter is made once, when the
// configuration is loaded, and keeps its settings in a closure.
package filter

import "weir/l7/exchange"

// Filter puts itself before a handler.
type Filter func(next exchange.Handler) exchange.Handler

// Chain is all filters of a route in the order in which a request meets them.
// nil stands for none.
type Chain struct {
	RequestID       Filter // before all that may answer, so that every answer has it
	Misdirected     Filter // before anything is told about the host
	Body            Filter
	Deadline        Filter
	RequestHeaders  Filter
	ResponseHeaders Filter // outside of the cache: what is stored is what the backend said
	Cache           Filter
	Compress        Filter // inside of the cache: compressed once
	Forwarded       Filter // tells of the client, so that what the cache has is for all
	Via             Filter
	Rewrite         Filter // behind these: they tell what was asked for
	Mirror          Filter
}

// Around puts the filters before a handler.
func (c Chain) Around(h exchange.Handler) exchange.Handler {
	for _, f := range []Filter{
		c.Mirror, c.Rewrite, c.Via, c.Forwarded, c.Compress, c.Cache, c.ResponseHeaders, c.RequestHeaders,
		c.Deadline, c.Body, c.Misdirected, c.RequestID,
	} {
		if f != nil {
			h = f(h)
		}
	}
	return h
}
