package filter

import (
	"fmt"
	"net/http"

	"weir/l7/exchange"
	"weir/l7/value"
	"weir/loader/lb"
)

// Redirect is a handler that sends clients elsewhere.
func Redirect(o lb.Redirect, path lb.PathMatch) (exchange.Handler, error) {
	location, err := value.NewURI(o.Location, path)
	if err != nil {
		return nil, fmt.Errorf("location: %w", err)
	}
	return exchange.HandlerFunc(func(x *exchange.Exchange) {
		to := location.Of(x)
		for len(to) > 1 && to[0] == '/' && to[1] == '/' {
			to = to[1:] // //host would lead to another host (RFC 3986, 4.2)
		}
		x.Response.Status, x.Response.Length = o.Status, 0
		x.Response.Header.AddKnown(exchange.Location, to)
	}), nil
}

// Respond is a handler that always answers the same.
func Respond(o lb.Respond) exchange.Handler {
	contentType, body := []byte(o.ContentType), []byte(o.Body)
	return exchange.HandlerFunc(func(x *exchange.Exchange) {
		r := &x.Response
		r.Status, r.Length = o.Status, int64(len(body))
		if o.Status == http.StatusNoContent || o.Status == http.StatusNotModified {
			return
		}
		r.Header.AddKnown(exchange.ContentType, contentType)
		if len(body) > 0 && string(x.Request.Method) != http.MethodHead {
			r.SetBytes(body)
		}
	})
}
