package filter

import (
	"context"
	"time"

	"weir/l7/exchange"
)

// Deadline ends the context of requests after a time, counted from their
// header to the end of the response.
func Deadline(within time.Duration) Filter {
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			ctx, cancel := context.WithDeadline(x.Context(), x.Began.Add(within))
			x.After(cancel)
			x.SetContext(ctx)
			next.Serve(x)
		})
	}
}
