package upstream

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"weir/l7/exchange"
)

// MirrorOptions are the settings of Mirror.
type MirrorOptions struct {
	To       exchange.Handler // gets the copies, mostly a Pool
	Percent  int              // of requests, 1 to 100
	MaxBytes int64            // of a body; requests with more, or of unknown length, are not copied
	AtOnce   int              // copies under way at most, others are left out; 256
}

// mirrorWithin is how long a copy may take.
const mirrorWithin = 30 * time.Second

// Mirror makes a filter that sends copies of requests elsewhere, and throws the
// answers away. A copy delays its original by no more than it takes to receive
// the body.
func Mirror(o MirrorOptions) (func(exchange.Handler) exchange.Handler, error) {
	if o.To == nil {
		return nil, errors.New("mirror: nowhere to send copies to")
	}
	if o.Percent < 1 || o.Percent > 100 {
		return nil, fmt.Errorf("mirror: %d percent of requests is not 1 to 100", o.Percent)
	}
	def(&o.AtOnce, 256)
	m := &mirror{o: o, places: make(chan struct{}, o.AtOnce)}
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			if m.copy(x) {
				next.Serve(x)
			}
		})
	}, nil
}

type mirror struct {
	o      MirrorOptions
	places chan struct{}
}

// copy sends a copy on its way. It reports false if the body did not come; x
// then is an error.
func (m *mirror) copy(x *exchange.Exchange) bool {
	r := &x.Request
	if r.Length > m.o.MaxBytes || r.Length < 0 || r.Continue || r.Header.Has(exchange.Upgrade) ||
		m.o.Percent < 100 && rand.IntN(100) >= m.o.Percent {
		return true
	}
	select {
	case m.places <- struct{}{}:
	default:
		return true
	}
	c := copyOf(x)
	if r.Body != nil {
		all, err := hold(x)
		if err != nil {
			<-m.places
			x.Fail(http.StatusBadRequest, err.Error())
			return false
		}
		c.Request.Length, c.Request.Body = int64(len(all)), exchange.NewBytes(all)
	}
	if at := time.Now().Add(mirrorWithin); c.Deadline.IsZero() || at.Before(c.Deadline) {
		c.Deadline = at
	}
	go m.send(c)
	return true
}

func (m *mirror) send(c *exchange.Exchange) {
	defer func() { <-m.places }()
	defer c.End()
	m.o.To.Serve(c)
	if c.Response.Body != nil {
		_, _ = io.Copy(io.Discard, struct{ io.Reader }{c.Response.Body}) // so that the connection can be kept
	}
}
