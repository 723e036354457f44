package h1

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"weir/l7/exchange"
	"weir/l7/stream"
)

// ClientOptions are the settings of connections to backends. Zero values mean
// the defaults of the comments.
type ClientOptions struct {
	Head     int           // bytes that the head of an answer may have; 64 KiB
	Fields   int           // fields that it may have; 256
	Write    time.Duration // for each piece of a request to be taken; 60 s
	Answer   time.Duration // until the head of the answer is there; 60 s
	Body     time.Duration // for each piece of its body to come; 60 s
	Continue time.Duration // for which a body waits for 100 (RFC 9110, 10.1.1); 1 s
}

func (o *ClientOptions) setDefaults() {
	def(&o.Head, 64<<10)
	def(&o.Fields, 256)
	def(&o.Write, 60*time.Second)
	def(&o.Answer, 60*time.Second)
	def(&o.Body, 60*time.Second)
	def(&o.Continue, time.Second)
}

// Dialer makes clients of connections; they share its buffers.
type Dialer struct {
	options ClientOptions
	buffers sync.Pool // *clientBuffers
}

// NewDialer makes a Dialer.
func NewDialer(o ClientOptions) *Dialer {
	o.setDefaults()
	d := &Dialer{options: o}
	d.buffers.New = func() any {
		return &clientBuffers{in: make([]byte, 2*smallBuffer), out: make([]byte, 0, smallBuffer)}
	}
	return d
}

type clientBuffers struct {
	in, out []byte
	m       message
	body    body
}

// Client is one connection to a backend. It carries one exchange at a time:
// Do, then Finish when the answer has been sent on or given up.
type Client struct {
	dialer *Dialer
	conn   *stream.Conn
	rd     reader
	b      *clientBuffers // while an exchange is under way
	used   int            // exchanges before this one
	until  time.Time      // when the head of the answer is late
	keep   bool           // the answer lets the connection be used again
	up     *upload        // the body of the request, if it is sent beside; else nil
}

// Client makes c, a connection to a backend, a Client.
func (d *Dialer) Client(c net.Conn) *Client {
	conn := stream.New(c)
	return &Client{dialer: d, conn: conn, rd: reader{conn: conn, timeout: d.options.Body}}
}

// Conn is the connection beneath.
func (c *Client) Conn() *stream.Conn { return c.conn }

// Used is how many exchanges it has carried before.
func (c *Client) Used() int { return c.used }

// Close closes the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Do sends x.Request and receives the head of the answer into x.Response, whose
// Body follows as it is read, and returns nil. Finish must follow in any case.
func (c *Client) Do(x *exchange.Exchange) *Failure {
	c.b = c.dialer.buffers.Get().(*clientBuffers)
	c.rd.start(c.b.in, 0)
	c.rd.x = x
	c.keep, c.up = false, nil
	head, err := appendRequest(c.b.out[:0], &x.Request)
	if err != nil {
		return &Failure{Err: err, Client: true}
	}
	c.b.out = head[:0]
	now := time.Now()
	c.until = now.Add(c.patience(x, now))
	c.conn.WriteWithin(now, c.dialer.options.Write)
	c.conn.ReadWithin(now, min(c.until.Sub(now), askEvery))
	failure := c.send(x, head)
	if failure == nil {
		failure = c.receive(x)
	}
	if failure != nil {
		x.Response.Header.Reset()
	}
	return failure
}

// patience is for how long the head of an answer is awaited.
func (c *Client) patience(x *exchange.Exchange, now time.Time) time.Duration {
	within := c.dialer.options.Answer
	if x.Answer > 0 {
		within = min(within, x.Answer)
	}
	if !x.Deadline.IsZero() {
		within = min(within, max(x.Deadline.Sub(now), time.Millisecond))
	}
	return within
}

// send sends the request. If that is all at once, the beginning of the answer
// is there when it returns.
func (c *Client) send(x *exchange.Exchange, head []byte) *Failure {
	r := &x.Request
	if r.Body == nil {
		return c.ask(head)
	}
	s := sender{conn: c.conn, buf: head, timeout: c.dialer.options.Write}
	if r.Continue {
		if err := s.flush(); err != nil {
			return &Failure{Err: fmt.Errorf("send the request: %w", err), Sent: true}
		}
		c.up = &upload{from: r.Body, out: s, left: r.Length}
		return nil
	}
	left, err := s.gather(r.Body, r.Length)
	if err != nil {
		return &Failure{Err: fmt.Errorf("read the request's body: %w", err), Taken: true, Client: true}
	}
	if left == 0 {
		failure := c.ask(s.buf)
		if failure != nil {
			failure.Taken = true
		}
		return failure
	}
	c.up = &upload{from: r.Body, out: s, left: left}
	c.up.start()
	return nil
}

func (c *Client) ask(request []byte) *Failure {
	sent, n, err := c.conn.Ask(request, c.rd.buf)
	c.rd.w = n
	if n > 0 || sent == len(request) && errors.Is(err, os.ErrDeadlineExceeded) {
		return nil // if it is only that the answer is late, receive waits on
	}
	return &Failure{Err: fmt.Errorf("wait for an answer: %w", cutOff(err)), Sent: sent > 0}
}

// mostInterim is how many interim answers a backend may send before the final.
const mostInterim = 16

func (c *Client) receive(x *exchange.Exchange) *Failure {
	for range mostInterim {
		protocol, err := c.head(x)
		if err != nil {
			return c.failed(err)
		}
		if status := x.Response.Status; status >= 200 || status == http.StatusSwitchingProtocols {
			return c.begin(x, protocol)
		}
		c.interim(x)
	}
	return c.failed(fmt.Errorf("more than %d interim answers", mostInterim))
}

// head receives one head.
func (c *Client) head(x *exchange.Exchange) (exchange.Protocol, error) {
	for {
		x.Response.Header.Reset()
		n, protocol, err := parseResponse(c.rd.pending(), &x.Response, &c.b.m, c.dialer.options.Fields)
		if err == nil {
			c.rd.took(n)
			return protocol, nil
		}
		if errors.Is(err, errIncomplete) {
			err = c.awaitHead()
		}
		if err != nil {
			return 0, err
		}
	}
}

// awaitHead waits for the end of a head. A body that is held back until there is
// 100 is sent after a while: not all backends know of it.
func (c *Client) awaitHead() error {
	if c.up != nil && !c.up.started {
		soon := time.Now().Add(c.dialer.options.Continue)
		err := c.rd.awaitHead(c.dialer.options.Head, soon)
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.conn.Interrupted() {
			return err
		}
		c.up.start()
	}
	return c.rd.awaitHead(c.dialer.options.Head, c.until)
}

func (c *Client) interim(x *exchange.Exchange) {
	switch {
	case x.Response.Status == http.StatusContinue:
		if c.up != nil && !c.up.started {
			c.up.start() // reading the body passes it on
		}
	case x.Inform != nil:
		_ = x.Inform(x.Response.Status, &x.Response.Header) // a client that has gone shows later
	}
}

var errUnasked = errors.New("the backend switches protocols unasked")

// begin takes the final head.
func (c *Client) begin(x *exchange.Exchange, protocol exchange.Protocol) *Failure {
	r, m := &x.Response, &c.b.m
	upgraded := r.Status == http.StatusSwitchingProtocols
	if upgraded && (!m.upgrade || !offered(&x.Request.Header, r.Header.Get(exchange.Upgrade))) {
		return c.failed(errUnasked)
	}
	if upgraded || r.Status < 300 && string(x.Request.Method) == http.MethodConnect {
		r.Tunnel = &Tunnel{Conn: c.conn, first: bytes.Clone(c.rd.pending()), of: c}
		return nil
	}
	how, err := m.frameResponse(r, protocol, toHEAD(x))
	if err != nil {
		return c.failed(err)
	}
	c.keep = !m.close && (protocol == exchange.HTTP11 || m.keepAlive)
	c.b.body.start(&c.rd, how, r.Length)
	if how != noBody {
		r.Body = &c.b.body
	}
	return nil
}

// offered reports whether the client asked to switch to a protocol.
func offered(request *exchange.Header, protocol []byte) bool {
	for list := request.Get(exchange.Upgrade); len(list) > 0; {
		var name []byte
		if name, list = next(list); bytes.EqualFold(name, protocol) {
			return len(name) > 0
		}
	}
	return false
}

// failed tells what an exchange that was sent failed of.
func (c *Client) failed(err error) *Failure {
	f := &Failure{Err: fmt.Errorf("wait for an answer: %w", cutOff(err)), Sent: true}
	f.Taken = c.up == nil || c.up.started
	f.Answered = c.rd.w > c.rd.base || c.rd.base > 0
	f.Client = f.Gone()
	if c.up != nil {
		if up := c.up.blame(); up != nil {
			f.Err, f.Client = fmt.Errorf("read the request's body: %w", up), true
		}
	}
	return f
}

// Finish ends the exchange and reports whether the connection can carry
// another: request and answer are complete, and nothing came unasked. Otherwise
// it is closed.
func (c *Client) Finish() bool {
	whole := c.b != nil && c.b.body.rd == &c.rd && c.b.body.whole()
	if c.up != nil && !c.up.finish(c.conn) {
		whole = false
	}
	reusable := c.keep && whole && c.rd.r == c.rd.w && !c.conn.Interrupted()
	c.giveBack()
	c.up, c.rd.x = nil, nil
	c.used++
	if !reusable {
		_ = c.conn.Close() // nothing is left to tell the backend
	}
	return reusable
}

// giveBack gives the buffers back that heads lie in.
func (c *Client) giveBack() {
	if c.b == nil {
		return
	}
	c.b.body.rd = nil
	c.dialer.buffers.Put(c.b)
	c.b, c.rd.buf = nil, nil
}
