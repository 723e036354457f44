package filter

import (
	"encoding/hex"
	"math/rand/v2"

	"weir/l7/exchange"
	"weir/loader/lb"
)

// RequestID gives each request an id of 32 hexadecimal digits: 128 random bits,
// not secret ones.
func RequestID(o lb.RequestID) Filter {
	id, name := exchange.NameOf(o.Header), []byte(o.Header)
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			h := &x.Request.Header
			sent := h.GetText(o.Header)
			if o.Trust && isID(sent) {
				x.ID = sent
			} else {
				if sent != nil {
					h.Del(o.Header)
				}
				x.ID = newID(x.Room(32))
				h.Append(id, name, x.ID)
			}
			next.Serve(x)
			if o.Answer {
				x.Response.Prebuilt = nil
				x.Response.Header.Del(o.Header)
				x.Response.Header.Append(id, name, x.ID)
			}
		})
	}
}

func newID(b []byte) []byte {
	var raw [16]byte
	for half := range 2 {
		n := rand.Uint64()
		for i := range 8 {
			raw[8*half+i] = byte(n >> (8 * i))
		}
	}
	return hex.AppendEncode(b, raw[:])
}

func isID(b []byte) bool {
	if len(b) < 1 || len(b) > 128 {
		return false
	}
	for _, c := range b {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
