package filter

import (
	"bytes"

	"weir/l7/exchange"
	"weir/l7/value"
	"weir/loader/lb"
)

// Forwarded tells backends of the client. What it sent in these fields is
// removed, unless it is a trusted proxy: then that is continued.
func Forwarded(style lb.ForwardedStyle) Filter {
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			h := &x.Request.Header
			if !x.Trusted {
				removeForwarded(h)
			}
			if style == lb.ForwardedX || style == lb.ForwardedBoth {
				addX(x, h)
			}
			if style == lb.ForwardedRFC || style == lb.ForwardedBoth {
				addForwarded(x, h)
			}
			next.Serve(x)
		})
	}
}

// removeForwarded looks before it removes: most requests have none.
func removeForwarded(h *exchange.Header) {
	fields := h.Fields()
	for i := range fields {
		if isForwarded(&fields[i]) {
			h.DelFunc(isForwarded)
			return
		}
	}
}

var (
	xForwarded = []byte("x-forwarded-")
	xRealIP    = []byte("x-real-ip")
)

func isForwarded(f *exchange.Field) bool {
	switch f.ID {
	case exchange.Forwarded, exchange.XForwardedFor, exchange.XForwardedHost, exchange.XForwardedProto:
		return true
	case exchange.Other:
		n := len(xForwarded)
		return len(f.Text) > n && bytes.EqualFold(f.Text[:n], xForwarded) || bytes.EqualFold(f.Text, xRealIP)
	}
	return false
}

const longestAddr = 45 // characters, netip.Addr of IPv4 in IPv6

func addX(x *exchange.Exchange, h *exchange.Header) {
	peer := x.Client.Remote.Addr().Unmap()
	if !h.Has(exchange.XForwardedFor) {
		h.AddKnown(exchange.XForwardedFor, peer.AppendTo(x.Room(longestAddr)))
	} else {
		h.SetKnown(exchange.XForwardedFor, peer.AppendTo(append(joined(x, h, exchange.XForwardedFor, longestAddr+2), ", "...)))
	}
	if !h.Has(exchange.XForwardedProto) {
		h.AddKnown(exchange.XForwardedProto, schemeBytes(x))
	}
	if !h.Has(exchange.XForwardedHost) && len(x.Request.Authority) > 0 {
		h.AddKnown(exchange.XForwardedHost, x.Request.Authority)
	}
}

var (
	schemeHTTP  = []byte("http")
	schemeHTTPS = []byte("https")
)

func schemeBytes(x *exchange.Exchange) []byte {
	if value.Scheme(x) == "https" {
		return schemeHTTPS
	}
	return schemeHTTP
}

// joined is all values of a field as one list, with room behind it.
func joined(x *exchange.Exchange, h *exchange.Header, n exchange.Name, room int) []byte {
	size := room
	for _, f := range h.Fields() {
		if f.ID == n {
			size += len(f.Value) + 2
		}
	}
	b := x.Room(size)
	for _, f := range h.Fields() {
		if f.ID != n {
			continue
		}
		if len(b) > 0 {
			b = append(b, ", "...)
		}
		b = append(b, f.Value...)
	}
	return b
}

// addForwarded follows RFC 7239, 4.
func addForwarded(x *exchange.Exchange, h *exchange.Header) {
	room := longestAddr + len(x.Request.Authority) + len(`, for="[]";host="";proto=https`)
	b := joined(x, h, exchange.Forwarded, room)
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	peer := x.Client.Remote.Addr().Unmap()
	if b = append(b, "for="...); peer.Is6() {
		b = append(peer.AppendTo(append(b, `"[`...)), `]"`...)
	} else {
		b = peer.AppendTo(b)
	}
	if host := x.Request.Authority; len(host) > 0 && !bytes.ContainsAny(host, `"\`) {
		b = append(append(append(b, `;host="`...), host...), '"')
	}
	b = append(append(b, ";proto="...), schemeBytes(x)...)
	h.SetKnown(exchange.Forwarded, b)
}
