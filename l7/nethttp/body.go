package nethttp

import (
	"net/http"

	"weir/l7/exchange"
)

// body is the body of a request.
type body struct {
	r       *http.Request
	trailer exchange.Header
}

func (b *body) Read(p []byte) (int, error) { return b.r.Body.Read(p) }
func (b *body) Close() error               { return b.r.Body.Close() }

// Trailer implements exchange.Trailered.
func (b *body) Trailer() *exchange.Header {
	if len(b.r.Trailer) == 0 {
		return nil
	}
	b.trailer.Reset()
	for name, values := range b.r.Trailer {
		for _, v := range values {
			b.trailer.Add(name, []byte(v))
		}
	}
	return &b.trailer
}
