package filter

import (
	"weir/l7/exchange"
	"weir/loader/lb"
)

// Deadline is how long requests may take, counted from their header to the end
// of the response, and within that the backend and a tunnel.
func Deadline(t lb.RouteTimeouts) Filter {
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			if t.Request > 0 {
				if at := x.Began.Add(t.Request); x.Deadline.IsZero() || at.Before(x.Deadline) {
					x.Deadline = at
				}
			}
			x.Answer, x.TunnelIdle = t.Response, t.Idle
			next.Serve(x)
		})
	}
}
