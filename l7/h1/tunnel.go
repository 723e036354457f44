package h1

import (
	"bytes"
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
	of    *Client // nil: of no client
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
	near := &Tunnel{Conn: ss.conn, first: bytes.Clone(ss.rd.pending())}
	far, ok := to.(*Tunnel)
	x.Detach() // tunnels last, and there may be many of them
	ss.rd.start(nil, 0)
	ss.w.in = nil
	if ok && far.of != nil {
		far.of.giveBack()
	}
	r := relay{idle: ss.server.options.Tunnel}
	if x.TunnelIdle > 0 {
		r.idle = x.TunnelIdle
	}
	r.active.Store(time.Now().UnixNano())
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
	var p piece
	for {
		err := r.receive(&p, from)
		if p.buf != nil {
			r.active.Store(time.Now().UnixNano())
			err = errors.Join(r.send(to, (*p.buf)[:p.n]), err)
			p.Return()
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

// Lend implements stream.Lender.
func (p *piece) Lend() []byte {
	p.buf = copies.Get().(*[]byte)
	return *p.buf
}

// Return implements stream.Lender.
func (p *piece) Return() {
	copies.Put(p.buf)
	p.buf = nil
}

// receive waits for a piece. There is one if it has a buffer.
func (r *relay) receive(p *piece, from io.Reader) (err error) {
	t, ok := from.(*Tunnel)
	if !ok || len(t.first) > 0 {
		p.n, err = from.Read(p.Lend())
		return err
	}
	for {
		now := time.Now()
		t.ReadWithin(now, r.idle)
		if p.n, err = t.ReadLent(p); p.n > 0 {
			return err
		}
		silent := time.Since(time.Unix(0, r.active.Load()))
		if !errors.Is(err, os.ErrDeadlineExceeded) || t.Interrupted() || silent >= r.idle {
			return err
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
