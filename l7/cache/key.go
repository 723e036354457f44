package cache

import (
	"bytes"
	"slices"

	"weir/l7/exchange"
)

// Key is what tells stored answers apart. The zero value is the whole URL:
// scheme, authority, path and query.
type Key struct {
	IgnoreHost   bool
	IgnoreQuery  bool
	SortQuery    bool     // parameters in another order are the same
	IncludeQuery []string // only these parameters; nil: all
	ExcludeQuery []string // all but these
	Headers      []string // values of these fields of the request
	Cookies      []string // values of these cookies

	filters   bool // the query is not taken as it is
	headerIDs []exchange.Name
	encodings bool // Accept-Encoding is among Headers
}

func (k *Key) complete() {
	k.filters = k.SortQuery || len(k.IncludeQuery) > 0 || len(k.ExcludeQuery) > 0
	k.headerIDs = make([]exchange.Name, len(k.Headers))
	for i, name := range k.Headers {
		k.headerIDs[i] = exchange.NameOf(name)
		k.encodings = k.encodings || k.headerIDs[i] == exchange.AcceptEncoding
	}
}

// appendURL appends what stands for the URL of a request: the URL with the
// parts that do not count left out. It is what purges name.
func (k *Key) appendURL(b []byte, secure bool, authority, path, query []byte) []byte {
	scheme, port := "http://", ":80" // the default port is no part of it (RFC 9110, 4.2.3)
	if secure {
		scheme, port = "https://", ":443"
	}
	b = append(b, scheme...)
	if !k.IgnoreHost {
		if n := len(authority) - len(port); n > 0 && string(authority[n:]) == port {
			authority = authority[:n]
		}
		b = append(b, authority...)
	}
	b = append(b, path...)
	if len(query) == 0 || k.IgnoreQuery {
		return b
	}
	if !k.filters {
		return append(append(b, '?'), query...)
	}
	return k.appendQuery(b, query)
}

// appendQuery appends the parameters that count. Names are compared decoded, and
// values stay as they were sent.
func (k *Key) appendQuery(b, query []byte) []byte {
	var params [][]byte
	for param := range bytes.SplitSeq(query, []byte("&")) {
		name, _, _ := bytes.Cut(param, []byte("="))
		if k.counts(string(decode(name))) {
			params = append(params, param)
		}
	}
	if k.SortQuery {
		slices.SortStableFunc(params, func(a, b []byte) int {
			// By name alone: the order of equal names may mean something.
			nameA, _, _ := bytes.Cut(a, []byte("="))
			nameB, _, _ := bytes.Cut(b, []byte("="))
			return bytes.Compare(nameA, nameB)
		})
	}
	for i, param := range params {
		if i == 0 {
			b = append(b, '?')
		} else {
			b = append(b, '&')
		}
		b = append(b, param...)
	}
	return b
}

func (k *Key) counts(name string) bool {
	if len(k.IncludeQuery) > 0 && !slices.Contains(k.IncludeQuery, name) {
		return false
	}
	return !slices.Contains(k.ExcludeQuery, name)
}

// decode decodes %XX and + of a parameter's name; what is malformed stays.
func decode(b []byte) []byte {
	if bytes.IndexByte(b, '%') < 0 && bytes.IndexByte(b, '+') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' && i+2 < len(b) {
			if high, low := hex(b[i+1]), hex(b[i+2]); high >= 0 && low >= 0 {
				c = byte(high<<4 | low)
				i += 2
			}
		} else if c == '+' {
			c = ' '
		}
		out = append(out, c)
	}
	return out
}

func hex(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// appendExtra appends what else tells answers apart: fields and cookies of the
// request. A missing one differs from an empty one, and no value can look like
// two.
func (k *Key) appendExtra(b []byte, h *exchange.Header) []byte {
	for i, name := range k.Headers {
		b = append(b, 1)
		for _, f := range h.Fields() {
			if is(&f, k.headerIDs[i], name) {
				b = append(append(b, f.Value...), 2)
			}
		}
	}
	for _, name := range k.Cookies {
		b = append(b, 1)
		if value, ok := cookie(h, name); ok {
			b = append(append(b, value...), 2)
		}
	}
	return b
}

// cookie is the value of the first cookie of that name (RFC 6265, 5.4).
func cookie(h *exchange.Header, name string) ([]byte, bool) {
	for _, f := range h.Fields() {
		if f.ID != exchange.Cookie {
			continue
		}
		for rest := f.Value; len(rest) > 0; {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte(";"))
			key, value, ok := bytes.Cut(bytes.Trim(pair, " \t"), []byte("="))
			if ok && string(key) == name {
				return value, true
			}
		}
	}
	return nil, false
}

func (k *Key) hasExtra() bool { return len(k.Headers)+len(k.Cookies) > 0 }
