package h2

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"

	"weir/l7/exchange"
)

// readRequest makes a header block a request. What the protocol forbids (RFC
// 9113, 8.2 and 8.3) is an error of the stream: nothing of it may reach HTTP/1.1,
// where it would mean something else.
func (s *stream) readRequest(f *http2.MetaHeadersFrame) error {
	malformed := streamError(f.StreamID, http2.ErrCodeProtocol)
	q := &s.x.Request
	q.Protocol = exchange.HTTP2
	s.x.Began, s.x.Client, s.x.Inform = time.Now(), s.c.client, s.inform
	s.text = grown(s.text, f)
	if !s.readPseudo(f) || !s.readFields(f) {
		return malformed
	}
	if !s.readHost() {
		return malformed
	}
	switch {
	case s.remoteEnd && s.length > 0:
		return malformed
	case s.remoteEnd:
		return nil
	}
	q.Length = s.length // -1 is exchange.Unknown
	s.body = &body{s: s}
	q.Body = s.body
	return nil
}

// grown has room for all text of a header, so that none of it moves.
func grown(text []byte, f *http2.MetaHeadersFrame) []byte {
	size := 0
	for _, h := range f.Fields {
		size += len(h.Name) + len(h.Value) + len("; ")
	}
	if cap(text) < size {
		return make([]byte, 0, size)
	}
	return text[:0]
}

func (s *stream) keep(text string) []byte {
	from := len(s.text)
	s.text = append(s.text, text...)
	return s.text[from:len(s.text):len(s.text)]
}

func (s *stream) readPseudo(f *http2.MetaHeadersFrame) bool {
	q := &s.x.Request
	method, scheme, path := f.PseudoValue("method"), f.PseudoValue("scheme"), f.PseudoValue("path")
	q.Method = s.keep(method)
	q.Authority = lowered(s.keep(f.PseudoValue("authority")))
	if !httpguts.ValidHeaderFieldName(method) || f.PseudoValue("protocol") != "" {
		return false
	}
	if method == "CONNECT" { // (RFC 9113, 8.5)
		q.Target = q.Authority
		return scheme == "" && path == "" && len(q.Authority) > 0
	}
	q.Target = s.keep(path)
	return (scheme == "http" || scheme == "https") && validTarget(method, path)
}

// validTarget keeps out what would end a request line of HTTP/1.1, or is no
// path.
func validTarget(method, path string) bool {
	if path == "*" {
		return method == "OPTIONS"
	}
	if !strings.HasPrefix(path, "/") {
		return false
	}
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return true
}

func lowered(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return b
}

func (s *stream) readFields(f *http2.MetaHeadersFrame) bool {
	q := &s.x.Request
	for _, h := range f.RegularFields() {
		value := h.Value
		if value != strings.Trim(value, " \t") {
			return false
		}
		id := exchange.NameOf(h.Name)
		switch id {
		case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.TransferEncoding, exchange.Upgrade:
			return false
		case exchange.TE:
			if value != "trailers" {
				return false
			}
		case exchange.ContentLength:
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil || s.length >= 0 || value[0] == '+' {
				return false
			}
			s.length = int64(n)
			continue // Length says it
		case exchange.Expect:
			if strings.EqualFold(value, "100-continue") {
				q.Continue = true
				continue
			}
		case exchange.Cookie:
			if q.Header.Has(exchange.Cookie) {
				s.joinCookie(value)
				continue
			}
		}
		q.Header.Append(id, s.keep(h.Name), s.keep(value))
	}
	return true
}

// joinCookie makes one field of what the protocol splits (RFC 9113, 8.2.3).
func (s *stream) joinCookie(crumb string) {
	fields := s.x.Request.Header.Fields()
	for i := range fields {
		if fields[i].ID == exchange.Cookie {
			fields[i].Value = append(append(append([]byte{}, fields[i].Value...), "; "...), crumb...)
		}
	}
}

// readHost makes sure that there is one host: who comes behind might believe
// another (RFC 9113, 8.3.1).
func (s *stream) readHost() bool {
	q := &s.x.Request
	if q.Header.Has(exchange.Host) {
		host := lowered(bytes.Clone(q.Header.Get(exchange.Host)))
		if q.Header.Count(exchange.Host) > 1 || len(q.Authority) > 0 && !bytes.Equal(host, q.Authority) {
			return false
		}
		q.Authority = host
		q.Header.DelKnown(exchange.Host)
	}
	return validAuthority(q.Authority)
}

// validAuthority keeps out user names (RFC 9110, 4.2.4) and what is no host.
func validAuthority(a []byte) bool {
	for _, c := range a {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~:[]%!$&'()*+,;=", c) >= 0:
		default:
			return false
		}
	}
	return len(a) > 0
}

// takeTrailer takes the fields behind a body. The connection's mutex is held.
func (s *stream) takeTrailer(f *http2.MetaHeadersFrame) error {
	switch {
	case s.remoteEnd:
		return streamError(s.id, http2.ErrCodeStreamClosed)
	case !f.StreamEnded(), len(f.PseudoFields()) > 0, s.length >= 0 && s.got != s.length:
		return streamError(s.id, http2.ErrCodeProtocol)
	}
	if !f.Truncated {
		for _, h := range f.RegularFields() {
			s.trailer.Add(h.Name, []byte(h.Value))
		}
	}
	s.remoteEnd = true
	if s.lingers {
		s.c.drop(s, errWhole)
	}
	s.cond.Broadcast()
	return nil
}
