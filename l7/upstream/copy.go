package upstream

import (
	"bytes"

	"weir/l7/exchange"
)

// copyOf is an exchange of its own for the same request without its body. It
// shares no memory with x, which may end before.
func copyOf(x *exchange.Exchange) *exchange.Exchange {
	c := &exchange.Exchange{
		Client: x.Client, Began: x.Began, Route: x.Route, Pool: x.Pool, Source: x.Source,
		ID: bytes.Clone(x.ID), Deadline: x.Deadline, Answer: x.Answer,
	}
	r := &c.Request
	r.Protocol = x.Request.Protocol
	r.Method = bytes.Clone(x.Request.Method)
	r.Target = bytes.Clone(x.Request.Target)
	r.Authority = bytes.Clone(x.Request.Authority)
	r.Path = bytes.Clone(x.Request.Path)
	r.Query = bytes.Clone(x.Request.Query)
	for _, f := range x.Request.Header.Fields() {
		r.Header.Append(f.ID, bytes.Clone(f.Text), bytes.Clone(f.Value))
	}
	return c
}
