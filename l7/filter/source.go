package filter

import (
	"bytes"
	"net/netip"

	"weir/l7/addrset"
	"weir/l7/exchange"
)

// Source finds out who asks, before any route is chosen: the peer or, if that
// is a trusted proxy, the last address of X-Forwarded-For, or else Forwarded,
// that is none.
func Source(trusted addrset.Set) Filter {
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) {
			x.Source = x.Client.Remote.Addr().Unmap()
			if !trusted.Empty() && trusted.Has(x.Source) {
				x.Trusted = true
				behind(x, trusted)
			}
			next.Serve(x)
		})
	}
}

// behind goes through the addresses that proxies added, the nearest first.
func behind(x *exchange.Exchange, trusted addrset.Set) {
	name := exchange.XForwardedFor
	if !x.Request.Header.Has(name) {
		name = exchange.Forwarded
	}
	fields := x.Request.Header.Fields()
	for i := len(fields) - 1; i >= 0; i-- {
		if fields[i].ID != name {
			continue
		}
		for list := fields[i].Value; len(list) > 0; {
			last := list
			if comma := bytes.LastIndexByte(list, ','); comma >= 0 {
				last, list = list[comma+1:], list[:comma]
			} else {
				list = nil
			}
			if name == exchange.Forwarded {
				last = forwardedFor(last)
			}
			a, ok := parseNode(last)
			if !ok {
				return // nobody can say who is before this
			}
			if x.Source = a; !trusted.Has(a) {
				return
			}
		}
	}
}

// forwardedFor is the value of for in one element of Forwarded (RFC 7239, 4).
// Values with commas or semicolons in quotes, which no address has, are not
// understood.
func forwardedFor(element []byte) []byte {
	for len(element) > 0 {
		pair := element
		if i := bytes.IndexByte(element, ';'); i >= 0 {
			pair, element = element[:i], element[i+1:]
		} else {
			element = nil
		}
		pair = bytes.TrimSpace(pair)
		if len(pair) > 4 && bytes.EqualFold(pair[:4], []byte("for=")) {
			return bytes.Trim(pair[4:], `"`)
		}
	}
	return nil
}

// parseNode reads an address with or without port, IPv6 with or without brackets.
func parseNode(b []byte) (netip.Addr, bool) {
	s := string(bytes.TrimSpace(b))
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().WithZone(""), true
	}
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap().WithZone(""), true
	}
	if n := len(s); n > 2 && s[0] == '[' && s[n-1] == ']' {
		if a, err := netip.ParseAddr(s[1 : n-1]); err == nil {
			return a.Unmap().WithZone(""), true
		}
	}
	return netip.Addr{}, false
}
