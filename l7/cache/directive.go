package cache

import (
	"bytes"

	"weir/l7/exchange"
)

// forever is the greatest number of seconds: what does not fit is it
// (RFC 9111, 1.2.2).
const forever = 1 << 31

// absent is the value of a directive that is not there.
const absent = -1

// directives are those of Cache-Control, or of a targeted field, that a shared
// cache knows, of requests and of responses. Numbers are seconds, or absent.
type directives struct {
	noStore, noCache, noTransform, onlyIfCached     bool
	private, public                                 bool
	mustRevalidate, proxyRevalidate, mustUnderstand bool
	maxAge, sMaxAge, maxStale, minFresh             int64
	staleWhileRevalidate, staleIfError              int64    // RFC 5861
	withheld                                        [][]byte // fields of no-cache="…" and private="…"
}

func none() directives {
	return directives{
		maxAge: absent, sMaxAge: absent, maxStale: absent, minFresh: absent,
		staleWhileRevalidate: absent, staleIfError: absent,
	}
}

// readControl reads Cache-Control (RFC 9111, 5.2). Of a directive that is there
// more than once the first counts; a number that is none makes a response stale.
func readControl(h *exchange.Header) directives {
	d := none()
	if !h.Has(exchange.CacheControl) {
		return d
	}
	for _, f := range h.Fields() {
		if f.ID != exchange.CacheControl {
			continue
		}
		for rest := f.Value; len(rest) > 0; {
			var name []byte
			var value argument
			name, value, rest = nextDirective(rest)
			d.set(name, value)
		}
	}
	return d
}

// argument is what follows a directive's "=".
type argument struct {
	text  []byte
	given bool // there is a "="
	bad   bool // it is neither a token nor a quoted string
}

// nextDirective cuts one member off a list of directives. A name that is no
// token is empty.
func nextDirective(b []byte) (name []byte, value argument, rest []byte) {
	b = bytes.TrimLeft(b, " \t,")
	n := tokenLength(b)
	name, b = b[:n], b[n:]
	if len(b) > 0 && b[0] == '=' && n > 0 {
		value, b = readArgument(b[1:])
	}
	end := bytes.IndexByte(b, ',')
	if end < 0 {
		end = len(b)
	}
	if junk := bytes.Trim(b[:end], " \t"); len(junk) > 0 {
		if value.bad = true; !value.given {
			value.given = junk[0] == '='
		}
	}
	return name, value, b[end:]
}

func readArgument(b []byte) (argument, []byte) {
	if len(b) > 0 && b[0] == '"' {
		return readQuoted(b[1:])
	}
	n := tokenLength(b)
	return argument{text: b[:n], given: true, bad: n == 0}, b[n:]
}

// readQuoted reads a quoted string (RFC 9110, 5.6.4) after its first quote.
func readQuoted(b []byte) (argument, []byte) {
	var plain []byte // a copy, where something is escaped
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			if plain == nil {
				return argument{text: b[:i], given: true}, b[i+1:]
			}
			return argument{text: plain, given: true}, b[i+1:]
		case '\\':
			if plain == nil {
				plain = append([]byte{}, b[:i]...)
			}
			if i++; i < len(b) {
				plain = append(plain, b[i])
			}
		default:
			if plain != nil {
				plain = append(plain, b[i])
			}
		}
	}
	return argument{given: true, bad: true}, nil
}

func tokenLength(b []byte) int {
	for i, c := range b {
		if !isToken(c) {
			return i
		}
	}
	return len(b)
}

func isToken(c byte) bool {
	switch {
	case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9':
		return true
	}
	return bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), c) >= 0
}

// set notes one directive; those that are not known are ignored.
func (d *directives) set(name []byte, value argument) {
	if len(name) > len("stale-while-revalidate") {
		return
	}
	var buf [len("stale-while-revalidate")]byte
	for i, c := range name {
		if buf[i] = c; 'A' <= c && c <= 'Z' {
			buf[i] = c | 0x20
		}
	}
	text := string(buf[:len(name)])
	if flag := d.flag(text); flag != nil {
		*flag = true
		return
	}
	switch text {
	case "no-cache":
		d.qualified(&d.noCache, value)
	case "private":
		d.qualified(&d.private, value)
	case "max-age":
		number(&d.maxAge, value, 0)
	case "s-maxage":
		number(&d.sMaxAge, value, 0)
	case "min-fresh":
		number(&d.minFresh, value, absent)
	case "stale-while-revalidate":
		number(&d.staleWhileRevalidate, value, absent)
	case "stale-if-error":
		number(&d.staleIfError, value, absent)
	case "max-stale":
		if !value.given && !value.bad {
			value = argument{text: []byte("2147483648")}
		}
		number(&d.maxStale, value, absent)
	}
}

// flag is the place of a directive without argument.
func (d *directives) flag(name string) *bool {
	switch name {
	case "no-store":
		return &d.noStore
	case "no-transform":
		return &d.noTransform
	case "only-if-cached":
		return &d.onlyIfCached
	case "public":
		return &d.public
	case "must-revalidate":
		return &d.mustRevalidate
	case "proxy-revalidate":
		return &d.proxyRevalidate
	case "must-understand":
		return &d.mustUnderstand
	}
	return nil
}

// qualified notes no-cache or private: as a whole, or for the fields that it
// names. What names none, or is malformed, is taken as a whole.
func (d *directives) qualified(whole *bool, value argument) {
	fields := value.text
	if !value.given || value.bad || len(bytes.Trim(fields, " \t,")) == 0 {
		*whole = true
		return
	}
	for name := range bytes.SplitSeq(fields, []byte(",")) {
		if name = bytes.Trim(name, " \t"); len(name) > 0 {
			d.withheld = append(d.withheld, name)
		}
	}
}

// number notes seconds the first time; malformed ones are what is said.
func number(to *int64, value argument, malformed int64) {
	if *to != absent {
		return
	}
	n, ok := seconds(value.text)
	if value.bad || !ok {
		n = malformed
	}
	*to = n
}

// seconds reads delta-seconds.
func seconds(b []byte) (int64, bool) {
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), forever)
	}
	return n, len(b) > 0
}
