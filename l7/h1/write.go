package h1

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"weir/l7/exchange"
)

// ownFields are those that the end writes itself, whatever a Header has.
const ownFields = 1<<exchange.Connection | 1<<exchange.KeepAlive | 1<<exchange.ProxyConnection |
	1<<exchange.TransferEncoding | 1<<exchange.ContentLength | 1<<exchange.Host | 1<<exchange.TE |
	1<<exchange.Expect | 1<<exchange.HTTP2Settings

// statusLines holds the line of each status from 100. Nobody changes it.
var statusLines = func() (all [500][]byte) {
	for i := range all {
		all[i] = fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n", 100+i, http.StatusText(100+i))
	}
	return all
}()

// errUnsafe is a head that would be read as another than it is.
var errUnsafe = errors.New("a line break or NUL in a head to be sent")

// headCheck counts the lines of a head while it is written.
type headCheck struct{ start, lines int }

// finish ends the head with an empty line and verifies that there are just the
// line ends that were put there, and no NUL: whatever filters have set, what
// goes out is one message.
func (c headCheck) finish(b []byte) ([]byte, error) {
	b = append(b, "\r\n"...)
	head := b[c.start:]
	lines := c.lines + 1
	if bytes.Count(head, []byte{'\n'}) != lines || bytes.Count(head, []byte{'\r'}) != lines ||
		bytes.IndexByte(head, 0) >= 0 {
		return b[:c.start], errUnsafe
	}
	return b, nil
}

// appendFields writes all fields but the end's own.
func (c *headCheck) appendFields(b []byte, h *exchange.Header) []byte {
	fields := h.Fields()
	for i := range fields {
		f := &fields[i]
		if 1<<f.ID&ownFields&^1 != 0 {
			continue
		}
		b = append(b, f.Text...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
		c.lines++
	}
	return b
}

func (c *headCheck) appendLine(b []byte, line string) []byte {
	c.lines++
	b = append(b, line...)
	return append(b, "\r\n"...)
}

func (c *headCheck) appendLength(b []byte, n int64) []byte {
	c.lines++
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}

// appendRequest writes the head of a request to a backend.
func appendRequest(b []byte, r *exchange.Request) ([]byte, error) {
	c := headCheck{start: len(b), lines: 2}
	b = append(b, r.Method...)
	b = append(b, ' ')
	target := len(b)
	if string(r.Method) == http.MethodConnect {
		b = append(b, r.Authority...)
	} else {
		b = append(b, r.Path...)
		if len(r.Query) > 0 {
			b = append(b, '?')
			b = append(b, r.Query...)
		}
	}
	if len(b) == target || bytes.IndexByte(b[target:], ' ') >= 0 {
		return b[:c.start], fmt.Errorf("a request for the target %q", b[target:])
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Authority...)
	b = append(b, "\r\n"...)
	b = c.appendFields(b, &r.Header)
	switch {
	case r.Body == nil:
		if expectsBody(r.Method) {
			b = c.appendLength(b, 0)
		}
	case r.Length == exchange.Unknown:
		b = c.appendLine(b, "Transfer-Encoding: chunked")
	default:
		b = c.appendLength(b, r.Length)
	}
	if r.Continue {
		b = c.appendLine(b, "Expect: 100-continue")
	}
	if r.Header.Has(exchange.Upgrade) {
		b = c.appendLine(b, "Connection: Upgrade")
	}
	return c.finish(b)
}

// expectsBody tells the methods whose requests say that they have no body
// (RFC 9110, 8.6).
func expectsBody(method []byte) bool {
	switch string(method) {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return true
	}
	return false
}

// connection is what an answer says about the connection.
type connection uint8

const (
	keepSilently connection = iota // HTTP/1.1
	keepAloud                      // HTTP/1.0
	closing
	upgrading
)

// appendResponse writes the head of an answer. body tells how the body, if one
// follows, is framed. date is the value of a Date field, for answers without.
func appendResponse(b []byte, r *exchange.Response, how framing, conn connection, date []byte) ([]byte, error) {
	c := headCheck{start: len(b), lines: 1}
	if r.Status < 200 && r.Status != http.StatusSwitchingProtocols || r.Status > 599 {
		return b, fmt.Errorf("an answer of status %d", r.Status)
	}
	b = append(b, statusLines[r.Status-100]...)
	if !r.Header.Has(exchange.Date) {
		b = append(b, "Date: "...)
		b = append(b, date...)
		b = append(b, "\r\n"...)
		c.lines++
	}
	b = c.appendFields(b, &r.Header)
	switch {
	case how == chunked:
		b = c.appendLine(b, "Transfer-Encoding: chunked")
	case how == untilEnd || r.Status == http.StatusNoContent || r.Status < 200 || r.Length < 0:
	case r.Status == http.StatusNotModified && r.Length == 0: // it would be that of the 200
	default:
		b = c.appendLength(b, r.Length)
	}
	switch conn {
	case keepAloud:
		b = c.appendLine(b, "Connection: keep-alive")
	case closing:
		b = c.appendLine(b, "Connection: close")
	case upgrading:
		b = c.appendLine(b, "Connection: Upgrade")
	}
	return c.finish(b)
}

// appendInterim writes a whole answer of status 100 to 199.
func appendInterim(b []byte, status int, h *exchange.Header) ([]byte, error) {
	if status < 100 || status > 199 || status == http.StatusSwitchingProtocols {
		return b, fmt.Errorf("an interim answer of status %d", status)
	}
	c := headCheck{start: len(b), lines: 1}
	b = append(b, statusLines[status-100]...)
	if h != nil {
		b = c.appendFields(b, h)
	}
	return c.finish(b)
}
