package h2

import (
	"bytes"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"weir/l7/exchange"
)

// counted counts writes.
type counted struct {
	net.Conn
	writes atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// TestAnswersLeaveTogether: what many streams answer at once is not a write each.
func TestAnswersLeaveTogether(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // which is where none would overtake another
	e := New(Options{}, exchange.HandlerFunc(func(x *exchange.Exchange) {
		x.Response.Status = 200
		x.Response.SetBytes([]byte("answer"))
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conns := make(chan *counted, 1)
	accept(t, l, func(conn net.Conn) {
		c := &counted{Conn: conn}
		conns <- c
		e.Serve(t.Context(), c, &exchange.Client{Listener: "test"}, nil)
	})
	r := dialRaw(t, l)
	c := <-conns
	const streams = 32
	answered := func(first uint32) {
		t.Helper()
		var all bytes.Buffer
		asks := http2.NewFramer(&all, nil)
		for i := range uint32(streams) {
			err := asks.WriteHeaders(http2.HeadersFrameParam{StreamID: first + 2*i, BlockFragment: r.block(request...), EndStream: true, EndHeaders: true})
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.Conn.Write(all.Bytes()); err != nil {
			t.Fatal(err)
		}
		for ends := 0; ends < streams; {
			f, err := r.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if f, ok := f.(*http2.DataFrame); ok && f.StreamEnded() {
				ends++
			}
		}
	}
	answered(1) // settings are exchanged meanwhile
	before := c.writes.Load()
	answered(2*streams + 1)
	if n := c.writes.Load() - before; n > streams/4 {
		t.Errorf("%d writes for %d answers", n, streams)
	}
}
