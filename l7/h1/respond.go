package h1

import (
	"errors"
	"net/http"
	"time"

	"weir/l7/exchange"
)

// respond sends the answer, and relays the tunnel that it may open.
func (ss *session) respond(x *exchange.Exchange) error {
	ss.lastInterim(x)
	if ss.server.draining.Load() {
		ss.keep = false
	}
	out := sender{conn: ss.conn, buf: ss.w.out[:0], timeout: ss.server.options.Write}
	if x.Response.Prebuilt != nil && ss.keep && x.Request.Protocol == exchange.HTTP11 && !toHEAD(x) {
		out.buf = x.Response.Prebuilt
		x.Sent = x.Response.Length
		return out.flush()
	}
	how := ss.frame(x)
	err := ss.head(&out, x, how)
	if err != nil {
		return err
	}
	if x.Response.Tunnel != nil {
		if err := out.flush(); err != nil {
			return err
		}
		ss.keep = false
		return ss.tunnel(x)
	}
	if how == noBody {
		return out.flush()
	}
	err = out.body(x.Response.Body, how, x.Response.Length)
	x.Sent = out.count
	if err != nil && !out.sent {
		ss.replace(&out, x, http.StatusBadGateway, err)
	}
	return err
}

// replace sends an error of weir's own in place of an answer that cannot be
// sent and has not begun.
func (ss *session) replace(out *sender, x *exchange.Exchange, status int, why error) {
	ss.keep = false
	x.Fail(status, why.Error())
	body, _ := x.Response.Body.(*exchange.Bytes) // as Fail made it
	buf, err := appendResponse(ss.w.out[:0], &x.Response, counted, closing, ss.date(x.Began))
	if err != nil {
		return // the connection is closed instead
	}
	out.buf = buf
	if !toHEAD(x) {
		out.buf = append(out.buf, body.Rest()...)
	}
	_ = out.flush() // closed next anyway
}

func toHEAD(x *exchange.Exchange) bool { return string(x.Request.Method) == http.MethodHead }

// frame decides how the end of the answer's body is marked.
func (ss *session) frame(x *exchange.Exchange) framing {
	r := &x.Response
	if r.Tunnel != nil || toHEAD(x) || r.Status == http.StatusNoContent || r.Status == http.StatusNotModified {
		return noBody
	}
	if r.Body == nil && r.Length > 0 {
		x.Fail(http.StatusInternalServerError, "an answer with a length and no body")
	}
	switch {
	case r.Body == nil:
		r.Length = 0
		return noBody
	case r.Length == 0:
		return noBody
	case r.Length > 0:
		return counted
	case x.Request.Protocol == exchange.HTTP11:
		return chunked
	}
	ss.keep = false
	return untilEnd
}

// head writes the answer's head to out's buffer. One that cannot be sent
// becomes an error of weir's own.
func (ss *session) head(out *sender, x *exchange.Exchange, how framing) (err error) {
	if !ss.consumed(x) {
		ss.keep = false
	}
	out.buf, err = appendResponse(out.buf, &x.Response, how, ss.connection(x), ss.date(x.Began))
	if err == nil {
		ss.w.out = out.buf[:0] // it may have grown
		return nil
	}
	ss.replace(out, x, http.StatusInternalServerError, err)
	return err
}

// consumed reports whether the connection can be used after a final answer that
// is sent now: a client that waits for 100 may leave its body out or not, and
// what follows a malformed body is anything.
func (ss *session) consumed(x *exchange.Exchange) bool {
	return x.Request.Body == nil || ss.w.body.before == nil && !ss.w.body.failed.Load()
}

func (ss *session) connection(x *exchange.Exchange) connection {
	switch {
	case x.Response.Status == http.StatusSwitchingProtocols, ss.keep && x.Response.Header.Has(exchange.Upgrade):
		return upgrading
	case x.Response.Tunnel != nil:
		return keepSilently
	case !ss.keep:
		return closing
	case x.Request.Protocol == exchange.HTTP10:
		return keepAloud
	}
	return keepSilently
}

// date is the value of a Date field, made once a second.
func (ss *session) date(now time.Time) []byte {
	w := ss.w
	if second := now.Unix(); second != w.dateFor {
		now.UTC().AppendFormat(w.date[:0], http.TimeFormat)
		w.dateFor = second
	}
	return w.date[:]
}

// lastInterim makes sure that no interim answer is sent any more.
func (ss *session) lastInterim(x *exchange.Exchange) {
	if x.Inform == nil {
		return
	}
	ss.interim.Lock()
	ss.answered = true
	ss.interim.Unlock()
}

var errAnswered = errors.New("an interim answer after the answer")

// sendInterim is what Exchange.Inform calls.
func (ss *session) sendInterim(status int, h *exchange.Header) error {
	ss.interim.Lock()
	defer ss.interim.Unlock()
	if ss.answered {
		return errAnswered
	}
	buf, err := appendInterim(nil, status, h)
	if err != nil {
		return err
	}
	ss.conn.WriteWithin(time.Now(), ss.server.options.Write)
	_, err = ss.conn.Write(buf)
	return err
}

// sendContinue tells a client that its body is wanted.
func (ss *session) sendContinue() error {
	return ss.sendInterim(http.StatusContinue, nil)
}
