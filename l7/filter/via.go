package filter

import (
	"bytes"
	"net/http"

	"weir/l7/exchange"
)

// Via adds this weir to the way of requests (RFC 9110, 7.6.3), and answers 508
// to those that were here before. name is a token that no other node has.
func Via(name string) Filter {
	var lines [exchange.HTTP3 + 1][]byte
	for p := range lines {
		lines[p] = []byte(exchange.Protocol(p).String()[len("HTTP/"):] + " " + name)
	}
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			h := &x.Request.Header
			if h.Has(exchange.Via) && passed(h, name) {
				x.Fail(http.StatusLoopDetected, "the request was here before: Via has "+name)
				return
			}
			h.AddKnown(exchange.Via, lines[x.Request.Protocol])
			next.Serve(x)
		})
	}
}

func passed(h *exchange.Header, name string) bool {
	for _, f := range h.Fields() {
		if f.ID == exchange.Via && bytes.Contains(f.Value, []byte(name)) {
			return true
		}
	}
	return false
}
