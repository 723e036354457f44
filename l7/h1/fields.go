package h1

import (
	"bytes"

	"weir/l7/exchange"
)

// message is what the fields of a head say about the message itself and the
// connection it came by. Those fields do not become part of the Header: an end
// writes its own.
type message struct {
	length    int64 // of Content-Length
	lengths   int   // how many Content-Length there were
	codings   int   // how many Transfer-Encoding; all are chunked
	hosts     int
	host      []byte
	close     bool // Connection: close
	keepAlive bool // Connection: keep-alive
	upgrade   bool // Connection: upgrade
	upgrades  int  // Upgrade fields
	expect    bool // Expect: 100-continue
	odd       bool // Expect: anything else
	options   [4][]byte
	connected int // how many options hold a Connection field
}

// line is the first line of b without its end, and its length with it.
func line(b []byte) (text []byte, n int, err error) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return nil, 0, errIncomplete
	}
	if end == 0 || b[end-1] != '\r' {
		return nil, 0, errBareLF
	}
	return b[:end-1], end + 1, nil
}

// parseFields reads the lines of b up to an empty one into h. n is their
// length with it.
func parseFields(b []byte, h *exchange.Header, m *message, most int) (n int, err error) {
	for {
		text, length, err := line(b[n:])
		if err != nil {
			return 0, err
		}
		n += length
		if len(text) == 0 {
			m.forget(h)
			return n, nil
		}
		if most--; most < 0 {
			return 0, errFields
		}
		if err := parseField(text, h, m); err != nil {
			return 0, err
		}
	}
}

func parseField(text []byte, h *exchange.Header, m *message) error {
	colon := bytes.IndexByte(text, ':')
	if colon < 1 || !all(text[:colon], tokenByte) {
		return badName(text, colon)
	}
	name, value := text[:colon], trim(text[colon+1:])
	if !visible(value) {
		return refuse("a control character in field %q", short(name))
	}
	id := exchange.NameOf(name)
	if id != exchange.Other {
		if keep, err := m.take(id, value); !keep {
			return err
		}
	}
	h.Append(id, name, value)
	return nil
}

func badName(text []byte, colon int) error {
	switch {
	case text[0] == ' ' || text[0] == '\t':
		return refuse("a folded field (RFC 9112, 5.2)")
	case colon < 0:
		return refuse("a field without a colon: %q", short(text))
	case colon == 0:
		return refuse("a field without a name: %q", short(text))
	}
	return refuse("a field's name is no token: %q", short(text[:colon]))
}

// take looks at a known field. keep is false if it is the connection's own.
func (m *message) take(id exchange.Name, value []byte) (keep bool, err error) {
	switch id {
	case exchange.ContentLength:
		m.lengths++
		if m.length, err = parseLength(value); err != nil {
			return false, err
		}
		if m.lengths > 1 {
			return false, refuse("two Content-Length fields")
		}
	case exchange.TransferEncoding:
		m.codings++
		if m.codings > 1 || !fold(value, "chunked") {
			return false, refuse("a Transfer-Encoding that is not just chunked: %q", short(value))
		}
	case exchange.Host:
		m.hosts++
		m.host = value
	case exchange.Connection:
		return false, m.connection(value)
	case exchange.Upgrade:
		m.upgrades++
		return true, nil // forget decides
	case exchange.TE:
		return fold(value, "trailers"), nil
	case exchange.Expect:
		m.expect = fold(value, "100-continue")
		m.odd = !m.expect
	case exchange.KeepAlive, exchange.ProxyConnection, exchange.HTTP2Settings:
	default:
		return true, nil
	}
	return false, nil
}

// maxDigits keeps lengths, decimal or hexadecimal, within an int64.
const maxDigits = 15

func parseLength(value []byte) (n int64, err error) {
	if len(value) == 0 || len(value) > maxDigits {
		return 0, refuse("a Content-Length of %q", short(value))
	}
	for _, c := range value {
		if c < '0' || c > '9' {
			return 0, refuse("a Content-Length of %q", short(value))
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// connection reads a Connection field.
func (m *message) connection(value []byte) error {
	if m.connected == len(m.options) {
		return refuse("more than %d Connection fields", len(m.options))
	}
	named := false
	for rest := value; len(rest) > 0; {
		var option []byte
		option, rest = next(rest)
		switch {
		case fold(option, "close"):
			m.close = true
		case fold(option, "keep-alive"):
			m.keepAlive = true
		case fold(option, "upgrade"):
			m.upgrade = true
		default:
			named = named || len(option) > 0
		}
	}
	if named {
		m.options[m.connected] = value
		m.connected++
	}
	return nil
}

// next is the first element of a comma-separated list, and what follows it.
func next(list []byte) (element, rest []byte) {
	if comma := bytes.IndexByte(list, ','); comma >= 0 {
		return trim(list[:comma]), list[comma+1:]
	}
	return trim(list), nil
}

// forget removes the fields that Connection names, and an Upgrade that leads
// nowhere.
func (m *message) forget(h *exchange.Header) {
	if m.upgrades > 0 && !m.upgradable(h) {
		h.DelKnown(exchange.Upgrade)
		m.upgrade = false
	}
	for _, list := range m.options[:m.connected] {
		for len(list) > 0 {
			var option []byte
			option, list = next(list)
			id := exchange.NameOf(option)
			if len(option) == 0 || protected(id, option) {
				continue
			}
			h.DelFunc(func(f *exchange.Field) bool {
				return f.ID == id && (id != exchange.Other || bytes.EqualFold(f.Text, option))
			})
		}
	}
}

// upgradable reports whether an Upgrade may be relayed: one that the Connection
// field names, and not to another version of HTTP, which would carry requests
// past everything here (h2c smuggling).
func (m *message) upgradable(h *exchange.Header) bool {
	if !m.upgrade || m.upgrades > 1 {
		return false
	}
	for list := h.Get(exchange.Upgrade); len(list) > 0; {
		var protocol []byte
		protocol, list = next(list)
		name, _, _ := bytes.Cut(protocol, []byte("/"))
		if fold(name, "h2c") || fold(name, "h2") || fold(name, "http") || fold(name, "tls") {
			return false
		}
	}
	return true
}

// protected reports whether a field stays although Connection names it, which
// takes it from the next hop: a client must not be able to remove what proxies
// before this one said about it, nor what tells who it is (RFC 9110, 7.6.1:
// options must not name fields that are for all recipients).
func protected(id exchange.Name, name []byte) bool {
	switch id {
	case exchange.Other:
		return len(name) >= 2 && fold(name[:2], "x-") && (hasFold(name, "x-forwarded-") || fold(name, "x-real-ip"))
	case exchange.Authorization, exchange.ProxyAuthorization, exchange.Cookie, exchange.SetCookie,
		exchange.Forwarded, exchange.Via, exchange.XForwardedFor, exchange.XForwardedHost,
		exchange.XForwardedProto, exchange.XRequestID, exchange.Traceparent, exchange.Origin,
		exchange.CacheControl, exchange.ContentType, exchange.ContentEncoding, exchange.ContentRange,
		exchange.Range, exchange.Vary:
		return true
	}
	return false
}

func hasFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && fold(b[:len(prefix)], prefix)
}
