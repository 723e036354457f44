package cache

import (
	"errors"
	"io"
	"math"
	"sync"

	"weir/l7/exchange"
	"weir/l7/ranges"
)

// fill is a body that is read from an origin once, for all who want it while it
// arrives. Whoever needs more than is there reads it: nobody waits for a slow
// client. What is read stays until it is stored; if it turns out too long for
// that, only until the last reader has got it.
type fill struct {
	source exchange.Body
	length int64             // of the body, or exchange.Unknown
	most   int64             // bytes that may be kept
	ended  func(body []byte) // called once: with the whole body, or nil
	behind func(func())      // runs something in the background; nil: nothing goes on without readers
	take   func(int64) bool  // asks for so many bytes of memory more

	mu      sync.Mutex
	moved   sync.Cond // something below changed
	buf     []byte
	base    int64 // offset in the body of buf[0]
	readers map[*fillReader]struct{}
	reading bool // somebody reads from source
	open    bool // more readers may come
	done    bool
	err     error // why source ended, io.EOF: it is whole
}

// errTooLong is the error of a body that is not read for anybody.
var errTooLong = errors.New("longer than what may be stored")

// firstRead is how much room a body of unknown length gets at first, bytes.
const firstRead = 8 << 10

// newFill begins to read source. Its memory is taken at once where the length
// is known.
func newFill(source exchange.Body, length, most int64, ended func([]byte)) *fill {
	f := &fill{source: source, length: length, most: most, ended: ended, open: true, readers: map[*fillReader]struct{}{}}
	f.moved.L = &f.mu
	f.buf = make([]byte, 0, max(0, length))
	f.take = func(int64) bool { return true }
	return f
}

// reader gives a part of the body to one client; a length of exchange.Unknown
// goes to the end. It is nil if nobody can join any more.
func (f *fill) reader(part ranges.Range) *fillReader {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open {
		return nil
	}
	r := &fillReader{fill: f, at: part.Start, end: exchange.Unknown}
	if part.Length >= 0 {
		r.end = part.Start + part.Length
	}
	f.readers[r] = struct{}{}
	return r
}

// finish reads to the end for nobody in particular, while that may be stored.
func (f *fill) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.done && f.open {
		f.advance()
	}
	if !f.done && len(f.readers) == 0 {
		f.end(errTooLong)
	}
}

// advance reads once from source, or waits until somebody else has, or until
// there is room. The lock is held, but not meanwhile.
func (f *fill) advance() {
	if f.reading || !f.grow() {
		f.moved.Wait()
		return
	}
	f.reading = true
	room := f.buf[len(f.buf):cap(f.buf)]
	f.mu.Unlock()
	n, err := f.source.Read(room)
	f.mu.Lock()
	f.reading = false
	if f.done { // given up meanwhile
		return
	}
	f.buf = f.buf[:len(f.buf)+n]
	switch whole := f.length >= 0 && int64(len(f.buf)) == f.length; {
	case whole:
		f.end(io.EOF) // an end that is known need not be read
	case errors.Is(err, io.EOF) && f.length >= 0:
		f.end(io.ErrUnexpectedEOF)
	case err != nil:
		f.end(err)
	}
	f.moved.Broadcast()
}

// grow makes room to read to. false: the slowest reader must catch up first.
func (f *fill) grow() bool {
	if f.length >= 0 || len(f.buf) < cap(f.buf) {
		return true
	}
	if f.open && int64(cap(f.buf)) < f.most {
		size := min(f.most, int64(max(firstRead, 2*cap(f.buf))))
		if f.take(size - int64(cap(f.buf))) {
			f.buf = append(make([]byte, 0, size), f.buf...)
			return true
		}
	}
	f.open = false
	return f.move()
}

// move makes the bytes of a body that is too long a window, which moves with
// the slowest reader: in long steps, as each copies what stays.
func (f *fill) move() bool {
	slowest := f.base + int64(len(f.buf))
	for r := range f.readers {
		slowest = min(slowest, r.at)
	}
	rest := f.buf[slowest-f.base:]
	if len(rest) > 0 && slowest-f.base < int64(cap(f.buf)/4) {
		return false
	}
	// Readers may still be copying from the old array.
	f.buf = append(make([]byte, 0, len(rest)+windowStep), rest...)
	f.base = slowest
	return true
}

// windowStep is how much room a window gets at once, bytes.
const windowStep = 64 << 10

// end notes that nothing more comes. The lock is held.
func (f *fill) end(err error) {
	whole := f.open && errors.Is(err, io.EOF)
	f.done, f.err, f.open = true, err, whole
	f.moved.Broadcast()
	if whole {
		f.ended(f.buf)
	} else {
		f.ended(nil)
	}
}

// must is reader as a part of a body that is joined already.
func (f *fill) must(part ranges.Range) (exchange.Body, error) {
	if r := f.reader(part); r != nil {
		return r, nil
	}
	return nil, errTooLong
}

// fillReader is one client's body out of a fill.
type fillReader struct {
	fill   *fill
	at     int64 // offset in the body
	end    int64 // where it ends, exchange.Unknown: where the body does
	closed bool
}

// next is what can be read now, at most limit bytes, after waiting until there
// is something. It counts as read.
func (r *fillReader) next(limit int) ([]byte, error) {
	f := r.fill
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		if r.closed {
			return nil, io.ErrClosedPipe
		}
		if r.at == r.end {
			return nil, io.EOF
		}
		if there := f.base + int64(len(f.buf)); there > r.at {
			b := f.buf[r.at-f.base:]
			if r.end >= 0 {
				b = b[:min(int64(len(b)), r.end-r.at)]
			}
			b = b[:min(len(b), limit)]
			r.at += int64(len(b))
			if !f.open {
				f.moved.Broadcast() // a window may move
			}
			return b, nil
		}
		if f.done {
			return nil, f.err
		}
		f.advance()
	}
}

// Read implements io.Reader.
func (r *fillReader) Read(p []byte) (int, error) {
	b, err := r.next(len(p))
	return copy(p, b), err
}

// WriteTo implements io.WriterTo.
func (r *fillReader) WriteTo(w io.Writer) (written int64, err error) {
	for {
		b, err := r.next(math.MaxInt)
		if errors.Is(err, io.EOF) {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := w.Write(b)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
}

// Prompt implements exchange.Prompt.
func (r *fillReader) Prompt() bool {
	f := r.fill
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done || r.at == r.end || r.closed || f.base+int64(len(f.buf)) > r.at {
		return true
	}
	p, ok := f.source.(exchange.Prompt)
	return !f.reading && (ok && p.Prompt() || !ok && f.length >= 0)
}

// Close implements io.Closer. Without readers the rest is read in the
// background, if it may be stored.
func (r *fillReader) Close() error {
	f := r.fill
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	delete(f.readers, r)
	f.moved.Broadcast()
	if f.done || len(f.readers) > 0 {
		return nil
	}
	if f.open && f.behind != nil {
		f.behind(f.finish)
	} else {
		f.end(errTooLong)
	}
	return nil
}
