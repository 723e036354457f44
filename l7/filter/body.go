package filter

import (
	"errors"
	"io"
	"net/http"

	"weir/l7/exchange"
)

// ErrBodyTooLarge is what reading a request's body gives where the route's limit
// is passed.
var ErrBodyTooLarge = errors.New("the body is over the limit")

// Body answers 413 to requests whose body has more than most bytes. One whose
// length is not known ahead is cut off there.
func Body(most int64) Filter {
	const why = "the request's body is over the limit"
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			q := &x.Request
			if q.Length > most {
				x.Fail(http.StatusRequestEntityTooLarge, why)
				return
			}
			if q.Body == nil || q.Length != exchange.Unknown {
				next.Serve(x)
				return
			}
			limited := &limitedBody{Body: q.Body, left: most}
			q.Body = limited
			next.Serve(x)
			if limited.passed && x.Response.Status >= http.StatusInternalServerError {
				x.Fail(http.StatusRequestEntityTooLarge, why)
			}
		})
	}
}

type limitedBody struct {
	exchange.Body
	left   int64
	passed bool
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.passed {
		return 0, ErrBodyTooLarge
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.Body.Read(p)
	if int64(n) > b.left {
		b.passed = true
		return int(b.left), ErrBodyTooLarge
	}
	b.left -= int64(n)
	return n, err
}

// Trailer implements exchange.Trailered.
func (b *limitedBody) Trailer() *exchange.Header {
	if t, ok := b.Body.(exchange.Trailered); ok {
		return t.Trailer()
	}
	return nil
}

var _ io.Reader = (*limitedBody)(nil)
