package h1

import "weir/l7/exchange"

// framing is how the end of a body is found.
type framing uint8

const (
	noBody  framing = iota
	counted         // Content-Length
	chunked
	untilEnd // of the connection
)

// parseResponse reads the head at the beginning of b into r, whose slices are
// then of b, and tells its length with the empty line.
func parseResponse(b []byte, r *exchange.Response, m *message, most int) (n int, p exchange.Protocol, err error) {
	text, start, err := line(b)
	if err != nil {
		return 0, 0, err
	}
	p, r.Status, err = parseStatusLine(text)
	if err != nil {
		return 0, 0, err
	}
	*m = message{}
	n, err = parseFields(b[start:], &r.Header, m, most)
	return start + n, p, err
}

func parseStatusLine(line []byte) (exchange.Protocol, int, error) {
	const version = len("HTTP/1.1")
	if len(line) < version+len(" 200") || line[version] != ' ' {
		return 0, 0, refuse("a status line %q", short(line))
	}
	protocol, err := parseVersion(line[:version])
	if err != nil {
		return 0, 0, err
	}
	code, reason := line[version+1:version+4], line[version+4:]
	if len(reason) > 0 && reason[0] != ' ' || !visible(reason) {
		return 0, 0, refuse("a status line %q", short(line))
	}
	status := 0
	for _, c := range code {
		if c < '0' || c > '9' {
			return 0, 0, refuse("a status %q", code)
		}
		status = status*10 + int(c-'0')
	}
	if status < 100 || status > 599 {
		return 0, 0, refuse("a status %q", code)
	}
	return protocol, status, nil
}

// frameResponse says how the end of the body of an answer is found (RFC 9112,
// 6.3), and sets its length.
func (m *message) frameResponse(r *exchange.Response, protocol exchange.Protocol, toHEAD bool) (framing, error) {
	if m.codings > 0 && m.lengths > 0 {
		return noBody, refuse("both Transfer-Encoding and Content-Length")
	}
	if m.codings > 0 && protocol == exchange.HTTP10 {
		return noBody, refuse("Transfer-Encoding in HTTP/1.0")
	}
	r.Length = exchange.Unknown
	if m.lengths > 0 {
		r.Length = m.length
	}
	switch {
	case r.Status == 204 || r.Status < 200:
		r.Length = 0
		return noBody, nil
	case toHEAD || r.Status == 304:
		return noBody, nil
	case m.codings > 0:
		return chunked, nil
	case m.lengths == 0:
		return untilEnd, nil
	case r.Length == 0:
		return noBody, nil
	}
	return counted, nil
}
