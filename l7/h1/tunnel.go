package h1

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"weir/l7/exchange"
	"weir/l7/stream"
)

// Tunnel is the backend's side of a connection that has left HTTP: what came
// behind the head, and then the connection.
type Tunnel struct {
	*stream.Conn
	first []byte
}

// Read implements io.Reader.
func (t *Tunnel) Read(p []byte) (int, error) {
	if len(t.first) > 0 {
		n := copy(p, t.first)
		t.first = t.first[n:]
		return n, nil
	}
	return t.Conn.Read(p)
}

// tunnel relays between the client and the backend until both have ended or
// neither says anything for the time set.
func (ss *session) tunnel(x *exchange.Exchange) error {
	to := x.Response.Tunnel
	defer to.Close()
	ss.w.out = nil // nothing more is written from it, and tunnels last
	r := relay{idle: ss.server.options.Tunnel}
	if x.TunnelIdle > 0 {
		r.idle = x.TunnelIdle
	}
	r.active.Store(time.Now().UnixNano())
	near := &Tunnel{Conn: ss.conn, first: ss.rd.pending()}
	far, ok := to.(*Tunnel)
	if !ok {
		return r.run(near, to)
	}
	return r.run(near, far)
}

// relay copies both ways.
type relay struct {
	idle   time.Duration
	active atomic.Int64 // when something was last read either way, Unix ns
}

func (r *relay) run(near *Tunnel, far io.ReadWriteCloser) error {
	var wg sync.WaitGroup
	var up error
	wg.Go(func() {
		if up = r.copy(far, near); up != nil {
			interrupt(near, far)
		}
	})
	down := r.copy(near, far)
	if down != nil {
		interrupt(near, far)
	}
	wg.Wait()
	return errors.Join(up, down)
}

func interrupt(near *Tunnel, far io.Closer) {
	near.Interrupt()
	if t, ok := far.(*Tunnel); ok {
		t.Interrupt()
		return
	}
	_ = far.Close() // to end what is under way
}

// copy relays one way until from ends, and then tells to.
func (r *relay) copy(to io.Writer, from io.Reader) error {
	for {
		piece, err := r.receive(from)
		if piece != nil {
			r.active.Store(time.Now().UnixNano())
			err = errors.Join(r.send(to, piece.data()), err)
			piece.free()
		}
		if errors.Is(err, io.EOF) {
			return closeWrite(to)
		}
		if err != nil {
			return err
		}
	}
}

// piece is a part of what is relayed, in a buffer that is held only while there
// is something in it.
type piece struct {
	buf *[]byte
	n   int
}

func (p *piece) data() []byte { return (*p.buf)[:p.n] }

func (p *piece) free() { copies.Put(p.buf) }

// Lend implements stream.Lender.
func (p *piece) Lend() []byte {
	p.buf = copies.Get().(*[]byte)
	return *p.buf
}

// Return implements stream.Lender.
func (p *piece) Return() { p.free() }

func (r *relay) receive(from io.Reader) (*piece, error) {
	p := &piece{}
	t, ok := from.(*Tunnel)
	if !ok || len(t.first) > 0 {
		var err error
		p.n, err = from.Read(p.Lend())
		return p, err
	}
	for {
		now := time.Now()
		t.ReadWithin(now, r.idle)
		var err error
		if p.n, err = t.ReadLent(p); p.n > 0 {
			return p, err
		}
		silent := time.Since(time.Unix(0, r.active.Load()))
		if !errors.Is(err, os.ErrDeadlineExceeded) || t.Interrupted() || silent >= r.idle {
			return nil, err
		}
	}
}

func (r *relay) send(to io.Writer, data []byte) error {
	if t, ok := to.(*Tunnel); ok {
		t.WriteWithin(time.Now(), r.idle)
	}
	_, err := to.Write(data)
	return err
}

func closeWrite(to io.Writer) error {
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

var _ stream.Lender = (*piece)(nil)
