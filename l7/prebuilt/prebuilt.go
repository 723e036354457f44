// Package prebuilt answers from memory: a whole HTTP/1.1 message in one piece,
// written with one call, built in memory that is used again.
package prebuilt

import (
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"weir/l7/exchange"
	"weir/l7/validator"
)

// Most is the length of a message, bytes, up to which copying it costs less
// than a second system call or element of a vector.
const Most = 64 << 10

// Messages is where memory of messages is taken from. It may be used
// concurrently.
type Messages struct{ pool sync.Pool }

// Message is one response that is being built.
type Message struct {
	buf     []byte
	body    body
	from    *Messages
	release func() // put, bound once
}

// body is bytes that outlive the exchange: closing them changes nothing, as
// the memory may be another exchange's by then.
type body struct{ rest []byte }

// Take gives memory to build the response of x in. It goes back when x ends.
func (m *Messages) Take(x *exchange.Exchange) *Message {
	message, ok := m.pool.Get().(*Message)
	if !ok {
		message = &Message{from: m}
		message.release = message.put
	}
	x.After(message.release)
	return message
}

func (m *Message) put() {
	m.body.rest = nil
	m.from.pool.Put(m)
}

// Build makes the response of x a prebuilt one: head, a status line and fields
// that end with CRLF, then the fields of extra, then content, which is not sent
// to HEAD. The fields of x's Response must be set already and be the same.
// Content-Length is added here.
func (m *Message) Build(x *exchange.Exchange, head, content []byte, extra ...Line) {
	buf := append(m.buf[:0], head...)
	buf = append(buf, "Content-Length: "...)
	buf = strconv.AppendInt(buf, int64(len(content)), 10)
	for _, line := range extra {
		buf = append(buf, "\r\n"...)
		buf = append(buf, line.Name...)
		buf = append(buf, ": "...)
		buf = append(buf, line.Value...)
	}
	buf = append(buf, "\r\n\r\n"...)
	x.Response.Length = int64(len(content))
	if string(x.Request.Method) != "HEAD" {
		buf = append(buf, content...)
		m.body.rest = content
		x.Response.Body = &m.body
	}
	m.buf = buf
	x.Response.Prebuilt = buf
}

// Line is one field.
type Line struct {
	Name  string
	Value []byte
}

// Rest is what was not read yet, as of exchange.Bytes.
func (b *body) Rest() []byte { return b.rest }

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// WriteTo implements io.WriterTo.
func (b *body) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b.rest)
	b.rest = b.rest[n:]
	return int64(n), err
}

// Close implements io.Closer.
func (b *body) Close() error { return nil }

// Dates is the field Date, formatted once a second. The zero value is ready.
// It may be used concurrently.
type Dates struct{ last atomic.Pointer[stamp] }

type stamp struct {
	second int64
	text   []byte
}

// At is t as Date says it. Nobody may change it.
func (d *Dates) At(t time.Time) []byte {
	second := t.Unix()
	if last := d.last.Load(); last != nil && last.second == second {
		return last.text
	}
	text := validator.AppendDate(nil, t)
	d.last.Store(&stamp{second, text})
	return text
}
