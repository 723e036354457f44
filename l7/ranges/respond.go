package ranges

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"weir/l7/exchange"
)

// Respond makes of a response with the header of the whole representation, of
// size bytes, the answer to the request's Range: 206 with the parts, 416, or
// the whole as it is. open gives the bytes of one part, or of all; it is called
// when they are about to be read, and not for HEAD. If-Range must have been
// evaluated.
func Respond(x *exchange.Exchange, size int64, open func(Range) (exchange.Body, error)) error {
	r := &x.Response
	r.Header.DelKnown(exchange.ContentLength)
	result, parts := Whole, []Range(nil)
	if x.Request.Header.Count(exchange.Range) == 1 && string(x.Request.Method) == http.MethodGet {
		parts, result = Parse(nil, x.Request.Header.Get(exchange.Range), size)
	}
	switch {
	case result == Unsatisfiable:
		r.Status = http.StatusRequestedRangeNotSatisfiable
		r.Header.SetKnown(exchange.ContentRange, []byte("bytes */"+strconv.FormatInt(size, 10)))
		r.Length, r.Body = 0, nil
		return nil
	case result == Parts && len(parts) == 1:
		r.Status = http.StatusPartialContent
		r.Header.SetKnown(exchange.ContentRange, parts[0].appendContent(nil, size))
		return one(x, parts[0], open)
	case result == Parts:
		r.Status = http.StatusPartialContent
		body := newByteranges(parts, size, r.Header.Get(exchange.ContentType), open)
		r.Header.SetKnown(exchange.ContentType, []byte("multipart/byteranges; boundary="+body.boundary))
		r.Length, r.Body = body.length(), body
		return nil
	}
	return one(x, Range{0, size}, open)
}

func one(x *exchange.Exchange, part Range, open func(Range) (exchange.Body, error)) (err error) {
	x.Response.Length, x.Response.Body = part.Length, nil
	if part.Length > 0 && string(x.Request.Method) != http.MethodHead {
		x.Response.Body, err = open(part)
	}
	return err
}

// appendContent appends the value of Content-Range.
func (r Range) appendContent(b []byte, size int64) []byte {
	return fmt.Appendf(b, "bytes %d-%d/%d", r.Start, r.Start+r.Length-1, size)
}

// byteranges is a body of media type multipart/byteranges.
type byteranges struct {
	parts    []Range
	size     int64
	kind     []byte // Content-Type of each part
	boundary string
	open     func(Range) (exchange.Body, error)

	next int           // part that comes next
	head []byte        // of a part, or the end, that was not read yet
	body exchange.Body // of the part that is being read
	done bool
}

func newByteranges(parts []Range, size int64, kind []byte, open func(Range) (exchange.Body, error)) *byteranges {
	return &byteranges{parts: parts, size: size, kind: kind, boundary: rand.Text(), open: open}
}

func (m *byteranges) appendHead(b []byte, i int) []byte {
	b = fmt.Appendf(b, "\r\n--%s\r\n", m.boundary)
	if m.kind != nil {
		b = fmt.Appendf(b, "Content-Type: %s\r\n", m.kind)
	}
	b = append(b, "Content-Range: "...)
	return append(m.parts[i].appendContent(b, m.size), "\r\n\r\n"...)
}

func (m *byteranges) appendEnd(b []byte) []byte { return fmt.Appendf(b, "\r\n--%s--\r\n", m.boundary) }

func (m *byteranges) length() int64 {
	n := int64(len(m.appendEnd(nil)))
	for i, p := range m.parts {
		n += int64(len(m.appendHead(nil, i))) + p.Length
	}
	return n
}

// Read implements io.Reader.
func (m *byteranges) Read(p []byte) (int, error) {
	for {
		if len(m.head) > 0 {
			n := copy(p, m.head)
			m.head = m.head[n:]
			return n, nil
		}
		if m.body != nil {
			n, err := m.body.Read(p)
			if err != nil && !errors.Is(err, io.EOF) {
				return n, err
			}
			if errors.Is(err, io.EOF) {
				_ = m.body.Close() // read to its end
				m.body = nil
			}
			if n > 0 {
				return n, nil
			}
			continue
		}
		if err := m.advance(); err != nil {
			return 0, err
		}
	}
}

// Prompt implements exchange.Prompt.
func (m *byteranges) Prompt() bool {
	if p, ok := m.body.(exchange.Prompt); ok && len(m.head) == 0 {
		return p.Prompt()
	}
	return true
}

// advance goes to the next part, or to the end after the last.
func (m *byteranges) advance() (err error) {
	switch {
	case m.next < len(m.parts):
		m.head = m.appendHead(m.head[:0], m.next)
		m.body, err = m.open(m.parts[m.next])
		m.next++
	case !m.done:
		m.head, m.done = m.appendEnd(m.head[:0]), true
	default:
		err = io.EOF
	}
	return err
}

// Close implements io.Closer.
func (m *byteranges) Close() error {
	m.next, m.head, m.done = len(m.parts), nil, true
	if m.body == nil {
		return nil
	}
	body := m.body
	m.body = nil
	return body.Close()
}
