package exchange

import (
	"io"
	"net/http"
	"strconv"
)

var textPlain = []byte("text/plain; charset=utf-8")

// Bytes is a body in memory.
type Bytes struct{ rest []byte }

// NewBytes makes b, which is not copied, a body.
func NewBytes(b []byte) *Bytes { return &Bytes{b} }

// Read implements io.Reader.
func (b *Bytes) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Rest is what was not read yet. It is for ends that send it together with the
// header.
func (b *Bytes) Rest() []byte { return b.rest }

// Prompt implements Prompt.
func (b *Bytes) Prompt() bool { return true }

// WriteTo implements io.WriterTo.
func (b *Bytes) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b.rest)
	b.rest = b.rest[n:]
	return int64(n), err
}

// Close implements io.Closer.
func (b *Bytes) Close() error {
	b.rest = nil
	return nil
}

// errorPage is the text of weir's own error answers.
func errorPage(status int) []byte {
	return []byte(strconv.Itoa(status) + " " + http.StatusText(status) + "\n")
}
