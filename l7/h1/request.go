package h1

import (
	"bytes"
	"net/http"

	"weir/l7/exchange"
)

// parseRequest reads the head at the beginning of b into r, whose slices are
// then of b, and tells its length with the empty line. What it says of r is of
// use only if err is nil.
func parseRequest(b []byte, r *exchange.Request, m *message, most int) (n int, err error) {
	text, start, err := line(b)
	if err == nil && start == len("\r\n") { // RFC 9112, 2.2: one may precede a request
		text, n, err = line(b[start:])
		start += n
	}
	if err != nil {
		return 0, err
	}
	if err := parseRequestLine(text, r); err != nil {
		return 0, err
	}
	*m = message{}
	n, err = parseFields(b[start:], &r.Header, m, most)
	if err != nil {
		return 0, err
	}
	if err := m.frameRequest(r); err != nil {
		return 0, err
	}
	return start + n, parseTarget(r, m)
}

func parseRequestLine(line []byte, r *exchange.Request) error {
	space := bytes.IndexByte(line, ' ')
	if space < 1 || !all(line[:space], tokenByte) {
		return refuse("a method that is no token: %q", short(line))
	}
	r.Method = line[:space]
	line = line[space+1:]
	space = bytes.IndexByte(line, ' ')
	if space < 1 {
		return refuse("a request line without a target or version: %q", short(line))
	}
	r.Target = line[:space]
	if !all(r.Target, targetByte) {
		return refuse("a byte in the target that a URI cannot have: %q", short(r.Target))
	}
	protocol, err := parseVersion(line[space+1:])
	r.Protocol = protocol
	return err
}

// badBegin tells what is no request from its first byte, so that it need not
// be waited for the end of a line.
func badBegin(c byte) error {
	const tlsHandshake = 22 // RFC 8446, 5.1
	switch {
	case c == tlsHandshake:
		return refuse("TLS where plain HTTP is spoken")
	case c != '\r' && classes[c]&tokenByte == 0:
		return refuse("no request: it begins with %q", c)
	}
	return nil
}

func parseVersion(b []byte) (exchange.Protocol, error) {
	switch string(b) {
	case "HTTP/1.1":
		return exchange.HTTP11, nil
	case "HTTP/1.0":
		return exchange.HTTP10, nil
	}
	if len(b) == len("HTTP/1.1") && string(b[:5]) == "HTTP/" && b[6] == '.' &&
		'0' <= b[5] && b[5] <= '9' && '0' <= b[7] && b[7] <= '9' && b[5] != '1' {
		return 0, &Error{http.StatusHTTPVersionNotSupported, "version " + string(b)}
	}
	return 0, refuse("a version %q", short(b))
}

// frameRequest says how the end of the body is found (RFC 9112, 6.3), and
// refuses what two recipients could read differently.
func (m *message) frameRequest(r *exchange.Request) error {
	switch {
	case m.codings > 0 && m.lengths > 0:
		return refuse("both Transfer-Encoding and Content-Length")
	case m.codings > 0 && r.Protocol == exchange.HTTP10:
		return refuse("Transfer-Encoding in HTTP/1.0")
	case m.codings > 0:
		r.Length = exchange.Unknown
	default:
		r.Length = m.length
	}
	if m.odd {
		return &Error{http.StatusExpectationFailed, "an Expect other than 100-continue"}
	}
	r.Continue = m.expect && r.Length != 0 && r.Protocol == exchange.HTTP11
	return nil
}

// parseTarget finds authority, path and query (RFC 9112, 3.2).
func parseTarget(r *exchange.Request, m *message) error {
	if m.hosts > 1 || m.hosts == 0 && r.Protocol == exchange.HTTP11 {
		return refuse("%d Host fields", m.hosts)
	}
	if err := setAuthority(r, m.host); err != nil {
		return err
	}
	connect := string(r.Method) == http.MethodConnect
	switch {
	case connect:
		return setAuthority(r, bytes.Clone(r.Target)) // which stays as sent
	case r.Target[0] == '/':
		setPath(r, r.Target)
		return nil
	case len(r.Target) == 1 && r.Target[0] == '*':
		if string(r.Method) != http.MethodOptions {
			return refuse("the target * of a method other than OPTIONS")
		}
		r.Path = r.Target
		return nil
	}
	return parseAbsolute(r)
}

// parseAbsolute reads a target with a scheme, whose authority counts and not
// that of Host (RFC 9112, 3.2.2).
func parseAbsolute(r *exchange.Request) error {
	rest := r.Target
	switch {
	case hasFold(rest, "http://"):
		rest = rest[len("http://"):]
	case hasFold(rest, "https://"):
		rest = rest[len("https://"):]
	default:
		return refuse("a target that is neither a path nor a http URI: %q", short(rest))
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	if end == 0 {
		return refuse("a target without a host: %q", short(r.Target))
	}
	if err := setAuthority(r, bytes.Clone(rest[:end])); err != nil {
		return err
	}
	setPath(r, rest[end:])
	if len(r.Path) == 0 {
		r.Path = slash
	}
	return nil
}

var slash = []byte("/")

func setPath(r *exchange.Request, target []byte) {
	r.Path = target
	if mark := bytes.IndexByte(target, '?'); mark >= 0 {
		r.Path, r.Query = target[:mark], target[mark+1:]
	}
}

// setAuthority takes host, whose letters it makes small in place.
func setAuthority(r *exchange.Request, host []byte) error {
	for i, c := range host {
		if classes[c]&hostByte == 0 {
			return refuse("a byte that no host has: %q", short(host))
		}
		host[i] = lower(c)
	}
	r.Authority = host
	return nil
}
