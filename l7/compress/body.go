package compress

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"weir/l7/coding"
	"weir/l7/exchange"
)

// encoder is what writers of all codings have.
type encoder interface {
	io.Writer
	Flush() error
	Close() error
	Reset(io.Writer)
}

// window is how far back an encoder looks, as a power of two: enough for
// pages, and what 10,000 streams at once can afford.
const window = 18

func newEncoder(c coding.Coding, level int) (encoder, error) {
	switch c {
	case coding.Brotli:
		return brotli.NewWriterOptions(nil, brotli.WriterOptions{Quality: level, LGWin: window}), nil
	case coding.Zstd:
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(1<<window), zstd.WithLowerEncoderMem(true))
	}
	return gzip.NewWriterLevel(nil, level)
}

// body is a compressed body. What the source gives comes out as soon as the
// source has no more at hand, where its length is not known: somebody may wait
// for it.
type body struct {
	filter *Filter
	coding coding.Coding
	source exchange.Body
	eager  bool // flushed when the source gives less than it could
	events bool // flushed whenever the source gives something

	mu      sync.Mutex // an encoder must not go back while it is used
	encoder encoder
	room    []byte // what is read from the source
	out     bytes.Buffer
	err     error // of the end; io.EOF: all is in out
}

// readSize is how much is asked of the source at once, bytes.
const readSize = 16 << 10

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.out.Len() == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.advance()
	}
	return b.out.Read(p)
}

// advance compresses what the source gives next.
func (b *body) advance() {
	if !b.begin() {
		return
	}
	if b.room == nil {
		b.room = make([]byte, readSize)
	}
	n, err := b.source.Read(b.room)
	if _, failed := b.encoder.Write(b.room[:n]); failed != nil {
		b.end(failed)
		return
	}
	switch {
	case errors.Is(err, io.EOF):
		b.finish()
	case err != nil:
		b.end(err)
	case n > 0 && (b.events || b.eager && n < readSize):
		if failed := b.encoder.Flush(); failed != nil {
			b.end(failed)
		}
	}
}

// begin takes an encoder.
func (b *body) begin() bool {
	if b.encoder != nil {
		return true
	}
	e, ok := b.filter.encoders[b.coding].Get().(encoder)
	if !ok {
		var err error
		if e, err = newEncoder(b.coding, b.filter.Level); err != nil {
			b.err = err
			return false
		}
	}
	e.Reset(&b.out)
	b.encoder = e
	return true
}

// finish writes what the encoder still holds.
func (b *body) finish() {
	if err := b.encoder.Close(); err != nil {
		b.end(err)
		return
	}
	b.end(io.EOF)
}

// end gives the encoder back.
func (b *body) end(err error) {
	b.err = err
	if b.encoder != nil {
		b.encoder.Reset(nil)
		b.filter.encoders[b.coding].Put(b.encoder)
		b.encoder = nil
	}
}

// all compresses a whole body in memory.
func (b *body) all(whole []byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.begin() {
		if _, err := b.encoder.Write(whole); err != nil {
			b.end(err)
		} else {
			b.finish()
		}
	}
	if !errors.Is(b.err, io.EOF) {
		return nil, b.err
	}
	return b.out.Bytes(), nil
}

// Prompt implements exchange.Prompt.
func (b *body) Prompt() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.out.Len() > 0 || b.err != nil {
		return true
	}
	if p, ok := b.source.(exchange.Prompt); ok {
		return p.Prompt()
	}
	return !b.eager && !b.events // of a known length: at hand
}

// Trailer implements exchange.Trailered.
func (b *body) Trailer() *exchange.Header {
	if t, ok := b.source.(exchange.Trailered); ok {
		return t.Trailer()
	}
	return nil
}

// Close implements io.Closer. It ends a Read under way by closing the source.
func (b *body) Close() error {
	err := b.source.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.out, b.room = bytes.Buffer{}, nil
	if b.err == nil {
		b.end(io.ErrClosedPipe)
	}
	return err
}
