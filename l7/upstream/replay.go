package upstream

import (
	"fmt"
	"io"
	"net/http"

	"weir/l7/exchange"
)

// awaited is the length of bodies, bytes, for which a backend is not kept
// waiting: they are received before it is asked, so that slow clients cost it
// nothing.
const awaited = 16 << 10

// keepBody reads a body that has not come yet and is short, or whose request
// may be repeated, so that it can be. It reports false if the client did not
// send it; x then is an error.
func (p *Pool) keepBody(x *exchange.Exchange) bool {
	r := &x.Request
	if r.Body == nil || r.Length < 0 || r.Continue {
		return true
	}
	repeated := p.o.Retries.Attempts > 0 && r.Length <= p.o.Retries.Body && repeatable(r.Method)
	if !repeated && (r.Length > awaited || received(r.Body)) {
		return true
	}
	if _, err := hold(x); err != nil {
		x.Fail(http.StatusBadRequest, err.Error())
		return false
	}
	return true
}

// received reports whether all of a body is there already.
func received(b exchange.Body) bool {
	r, ok := b.(interface{ Received() bool })
	if !ok {
		_, ok = b.(exchange.Whole)
		return ok
	}
	return r.Received()
}

// hold reads the whole body, of a known length, into memory, from where it is
// then read.
func hold(x *exchange.Exchange) ([]byte, error) {
	r := &x.Request
	all := make([]byte, r.Length)
	if _, err := io.ReadFull(r.Body, all); err != nil {
		return nil, fmt.Errorf("read the request's body: %w", err)
	}
	r.Body = &replay{exchange.NewBytes(all), all, r.Body}
	return all, nil
}

// rewind makes a body that was read whole again, and reports false if it
// cannot be.
func rewind(x *exchange.Exchange) bool {
	if x.Request.Body == nil {
		return true
	}
	r, ok := x.Request.Body.(*replay)
	if ok {
		r.Bytes = exchange.NewBytes(r.all)
	}
	return ok
}

// replay is a body in memory. Closing it closes the client's.
type replay struct {
	*exchange.Bytes
	all      []byte
	original exchange.Body
}

// Close implements io.Closer.
func (r *replay) Close() error { return r.original.Close() }
