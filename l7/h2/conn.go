package h2

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"weir/l7/exchange"
)

const (
	initialWindow = 1<<16 - 1 // bytes; of connections and streams (RFC 9113, 6.9.2)
	maxWindow     = 1<<31 - 1 // bytes (6.9.1)
	maxFrame      = 16 << 10  // bytes that we take (6.5.2)
	decoderTable  = 4096      // bytes of HPACK's table for requests
	readBuffer    = 16 << 10
	prefaceWait   = 10 * time.Second
	lingerMost    = 5 * time.Second
)

// conn is one connection. Its reading side belongs to the goroutine of serve;
// what is under mu is everybody's.
type conn struct {
	end    *End
	nc     net.Conn
	ctx    context.Context
	client *exchange.Client
	in     *bufio.Reader
	heads  heads
	frames *http2.Framer // reads only
	abuse  abuse
	heard  atomic.Int64   // when the last frame came, Unix ns
	ended  sync.WaitGroup // handlers

	mu        sync.Mutex
	streams   map[uint32]*stream
	last      uint32 // the highest stream that the client has opened
	handlers  int    // that run, for streams that have been reset too
	given     recent // streams that we reset: the client may not know yet
	credit    int64  // bytes that the client may still send, all streams together
	unread    int64  // bytes read by handlers and not yet given back as credit
	window    int64  // bytes that the client takes, all streams together
	streamWin int64  // that new streams begin with
	frameSize int    // bytes that the client takes
	leaving   bool   // GOAWAY has been sent
	idleSince time.Time
	pinged    bool
	out       output
}

func newConn(ctx context.Context, e *End, nc net.Conn, client *exchange.Client, first []byte) *conn {
	var from io.Reader = nc
	if len(first) > 0 {
		from = io.MultiReader(bytes.NewReader(first), nc)
	}
	c := &conn{
		end: e, nc: nc, ctx: ctx, client: client, in: bufio.NewReaderSize(from, readBuffer),
		streams: map[uint32]*stream{}, credit: initialWindow, window: initialWindow,
		streamWin: initialWindow, frameSize: maxFrame, idleSince: time.Now(),
	}
	c.heads.Reader = c.in
	c.frames = http2.NewFramer(nil, &c.heads)
	c.frames.SetReuseFrames()
	c.frames.SetMaxReadFrameSize(maxFrame)
	c.frames.MaxHeaderListSize = e.options.MaxHeaderBytes
	c.frames.ReadMetaHeaders = hpack.NewDecoder(decoderTable, nil)
	c.out.begin(&c.mu)
	return c
}

func (c *conn) serve() {
	defer c.ended.Wait()
	defer c.close()
	c.heard.Store(time.Now().UnixNano())
	watching := make(chan struct{})
	defer close(watching)
	if !c.open() {
		return
	}
	go c.watch(watching)
	for !c.finished() {
		f, err := c.frames.ReadFrame()
		c.heads.count = 0
		c.heard.Store(time.Now().UnixNano())
		if err == nil {
			err = c.take(f)
		}
		if err != nil && !c.survives(err) {
			return
		}
		c.answer()
	}
}

// answer sends what frames were answered by, once all that has come is read.
func (c *conn) answer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.in.Buffered() == 0 {
		c.flushLocked()
	}
	c.awaitRoom()
}

// open exchanges prefaces (RFC 9113, 3.4).
func (c *conn) open() bool {
	if c.nc.SetReadDeadline(time.Now().Add(prefaceWait)) != nil {
		return false
	}
	var preface [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(c.in, preface[:]); err != nil || string(preface[:]) != http2.ClientPreface {
		return false
	}
	c.greet()
	f, err := c.frames.ReadFrame()
	if err == nil {
		if s, ok := f.(*http2.SettingsFrame); !ok || s.IsAck() {
			err = http2.ConnectionError(http2.ErrCodeProtocol)
		} else {
			err = c.take(f)
		}
	}
	if err != nil && !c.survives(err) {
		return false
	}
	return c.nc.SetReadDeadline(time.Time{}) == nil
}

func (c *conn) greet() {
	o := c.end.options
	c.mu.Lock()
	c.out.settings(
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: o.MaxStreams},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: o.StreamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: o.MaxHeaderBytes},
	)
	if more := c.mayWait() - initialWindow; more > 0 {
		c.out.windowUpdate(0, uint32(more))
		c.credit += more
	}
	c.mu.Unlock()
	c.flush()
}

// mayWait is how many bytes of bodies may wait to be read, all streams together.
func (c *conn) mayWait() int64 {
	return min(maxWindow, max(initialWindow, 4*int64(c.end.options.StreamWindow)))
}

// survives answers what a client did wrong: a stream's error ends the stream,
// any other the connection.
func (c *conn) survives(err error) bool {
	var ofStream http2.StreamError
	var ofConn http2.ConnectionError
	switch {
	case errors.As(err, &ofStream):
		c.reset(ofStream.StreamID, ofStream.Code)
		return c.abuse.bears(1)
	case errors.As(err, &ofConn):
		c.goAway(http2.ErrCode(ofConn))
	case errors.Is(err, http2.ErrFrameTooLarge):
		c.goAway(http2.ErrCodeFrameSize)
	case errors.Is(err, errManyParts):
		c.goAway(http2.ErrCodeEnhanceYourCalm)
	}
	return false
}

// goAway says why the connection ends, and up to which stream requests were taken.
func (c *conn) goAway(code http2.ErrCode) {
	c.mu.Lock()
	c.leaving = true
	c.out.goAway(c.last, code)
	c.mu.Unlock()
	c.flush()
}

// retire ends the connection when its streams have ended.
func (c *conn) retire() {
	c.goAway(http2.ErrCodeNo)
	if c.finished() {
		_ = c.nc.SetReadDeadline(time.Now()) // if it fails, the connection is gone already
	}
}

// finished reports whether a client that was told to go has nothing left here.
func (c *conn) finished() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving && len(c.streams) == 0
}

// close gives up all that has not ended.
func (c *conn) close() {
	c.flush()
	c.mu.Lock()
	c.leaving = true
	c.out.broken = true
	for _, s := range c.streams {
		c.drop(s, errConnLost)
	}
	c.out.wake()
	c.mu.Unlock()
	linger(c.nc)
	c.nc.Close()
}

// linger lets the client read why the connection ends: closing with unread
// bytes would reset it, and throw away what is under way.
func linger(nc net.Conn) {
	half, ok := nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || nc.SetReadDeadline(time.Now().Add(time.Second)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, nc, 256<<10)
}

var errConnLost = errors.New("the connection has ended")

// watch ends a connection that is idle, or whose client says nothing even when
// asked, and streams whose client takes nothing.
func (c *conn) watch(until <-chan struct{}) {
	o := c.end.options
	every := time.NewTicker(min(o.IdleTimeout, o.PingAfter, o.WriteTimeout) / 4)
	defer every.Stop()
	for {
		select {
		case <-until:
			return
		case now := <-every.C:
			if !c.alive(now) {
				c.goAway(http2.ErrCodeNo)
				c.nc.Close()
				return
			}
		}
	}
}

func (c *conn) alive(now time.Time) bool {
	o := c.end.options
	silent := now.Sub(time.Unix(0, c.heard.Load()))
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) == 0 {
		return now.Sub(c.idleSince) < o.IdleTimeout
	}
	c.endStalled(now)
	if silent < o.PingAfter {
		c.pinged = false
		return true
	}
	if !c.pinged {
		c.pinged = true
		c.out.ping(false, [8]byte{})
		go c.flush()
	}
	return silent < 2*o.PingAfter
}

// endStalled ends streams whose client takes, or sends, no more.
func (c *conn) endStalled(now time.Time) {
	for _, s := range c.streams {
		switch {
		case s.stalled.IsZero():
		case s.lingers && now.Sub(s.stalled) > lingerMost:
			c.giveUp(s, http2.ErrCodeNo)
		case !s.lingers && now.Sub(s.stalled) > c.end.options.WriteTimeout:
			c.out.rst(s.id, http2.ErrCodeCancel)
			c.given.add(s.id)
			c.drop(s, errStalled)
		}
	}
}

var errStalled = errors.New("the client takes nothing")
