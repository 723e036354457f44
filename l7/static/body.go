package static

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"weir/l7/exchange"
	"weir/l7/ranges"
	"weir/l7/stream"
)

// part is the body of a part of a file, which stays open for it.
func (f *file) part(r ranges.Range) (exchange.Body, error) {
	if f.content != nil {
		return exchange.NewBytes(f.content[r.Start : r.Start+r.Length]), nil
	}
	if !f.acquire() {
		return nil, fmt.Errorf("%s is closed", f.name)
	}
	return &body{file: f, offset: r.Start, rest: r.Length}, nil
}

type body struct {
	file         *file
	offset, rest int64
	closed       atomic.Bool
}

// Read implements io.Reader. A file that is shorter than its response said is
// io.ErrUnexpectedEOF.
func (b *body) Read(p []byte) (int, error) {
	if b.rest == 0 {
		return 0, io.EOF
	}
	n, err := b.file.of.ReadAt(p[:min(int64(len(p)), b.rest)], b.offset)
	b.offset += int64(n)
	b.rest -= int64(n)
	if n > 0 {
		return n, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// onlyReader keeps io.Copy from asking for WriteTo again.
type onlyReader struct{ io.Reader }

// chunk is how much one sendfile(2) is asked for, bytes: what a socket takes
// at once is less, and each has the time that writes have.
const chunk = 1 << 20

// WriteTo implements io.WriterTo: to a socket with sendfile(2).
func (b *body) WriteTo(w io.Writer) (written int64, err error) {
	conn, ok := w.(*stream.Conn)
	if !ok || conn.TCP() == nil {
		return io.Copy(w, onlyReader{b})
	}
	to, err := conn.TCP().SyscallConn()
	if err != nil {
		return 0, err
	}
	from, err := b.file.of.SyscallConn()
	if err != nil {
		return 0, err
	}
	for b.rest > 0 {
		conn.WriteOn()
		n, err := b.sendSome(to, from)
		if n <= 0 {
			return written, cmp.Or(err, io.ErrUnexpectedEOF)
		}
		b.rest -= int64(n) // the offset is moved by the call
		written += int64(n)
	}
	return written, nil
}

// sendSome is one sendfile(2), once the socket has room.
func (b *body) sendSome(to, from syscall.RawConn) (n int, err error) {
	var source uintptr
	// The file is open as long as b is; its descriptor stays the same.
	if err := from.Control(func(fd uintptr) { source = fd }); err != nil {
		return 0, err
	}
	waited := to.Write(func(socket uintptr) bool {
		for {
			n, err = unix.Sendfile(int(socket), int(source), &b.offset, int(min(b.rest, chunk)))
			if !errors.Is(err, unix.EINTR) {
				return !errors.Is(err, unix.EAGAIN)
			}
		}
	})
	return n, cmp.Or(waited, err)
}

// Close implements io.Closer.
func (b *body) Close() error {
	if !b.closed.Swap(true) {
		b.file.release()
	}
	return nil
}
