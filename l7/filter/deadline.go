package filter

import (
	"time"

	"weir/l7/exchange"
)

// Deadline is how long requests may take, counted from their header to the end
// of the response.
func Deadline(within time.Duration) Filter {
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			if at := x.Began.Add(within); x.Deadline.IsZero() || at.Before(x.Deadline) {
				x.Deadline = at
			}
			next.Serve(x)
		})
	}
}
