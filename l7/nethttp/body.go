package nethttp

import (
	"net/http"

	"weir/l7/exchange"
)

// body is the body of a request.
type body struct {
	r       *http.Request
	read    *int64 // counts
	first   []byte // read already
	trailer exchange.Header
}

func (b *body) Read(p []byte) (int, error) {
	if len(b.first) == 0 || len(p) == 0 {
		n, err := b.r.Body.Read(p)
		*b.read += int64(n)
		return n, err
	}
	n := copy(p, b.first)
	b.first = b.first[n:]
	*b.read += int64(n)
	return n, nil
}

func (b *body) Close() error { return b.r.Body.Close() }

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
