package h1

import (
	"errors"
	"net"
	"net/http"
	"time"

	"weir/l7/exchange"
)

// settleBytes is how much of a body that nobody wanted is read so that the
// connection can go on.
const settleBytes = 256 << 10

// settle leaves the connection at the end of the request's body, if that is
// near.
func (ss *session) settle() bool {
	b := &ss.w.body
	if !b.stop() {
		return false
	}
	if b.whole() || b.before != nil { // a client that waits may leave it out or not
		return b.whole()
	}
	scratch := copies.Get().(*[]byte)
	defer copies.Put(scratch)
	for left := settleBytes; left > 0; {
		n, err := b.read(*scratch)
		left -= n
		if err != nil {
			break
		}
	}
	return b.whole()
}

// refuse answers a request that breaks the rules, or came too slowly.
func (ss *session) refuse(err error) {
	var status int
	var broken *Error
	var netErr net.Error
	switch {
	case errors.As(err, &broken):
		status = broken.Status
	case errors.As(err, &netErr) && netErr.Timeout() && !ss.conn.Interrupted():
		status = http.StatusRequestTimeout
	default:
		return // gone
	}
	ss.server.options.Refused(ss.client, status, err)
	x := &ss.w.x
	ss.keep, ss.answered = false, false
	x.Request = exchange.Request{Protocol: exchange.HTTP11, Header: x.Request.Header}
	x.Began = time.Now()
	x.Fail(status, err.Error())
	if ss.respond(x) == nil {
		ss.linger()
	}
}

// Bounds of linger.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 1 << 20
)

// linger reads on for a while after the last answer: to close a connection with
// unread input resets it, and the answer might be lost (RFC 9112, 9.6).
func (ss *session) linger() {
	ss.conn.Resume() // whoever was reading the body was stopped
	if ss.conn.CloseWrite() != nil {
		return
	}
	ss.conn.ReadBy(time.Now().Add(lingerTime))
	scratch := copies.Get().(*[]byte)
	defer copies.Put(scratch)
	for left := lingerBytes; left > 0; {
		n, err := ss.conn.Read(*scratch)
		if left -= n; err != nil {
			return
		}
	}
}

// close ends the connection, and the exchange if one is under way.
func (ss *session) close() {
	_ = ss.conn.Close() // nothing is left to tell anyone
	if ss.w != nil {
		ss.w.x.End()
		ss.w.x.Reset()
		ss.Return()
	}
}
