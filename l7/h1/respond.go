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
	out := sender{conn: ss.conn, timeout: ss.server.options.Write}
	if x.Response.Prebuilt != nil && ss.keep && x.Request.Protocol == exchange.HTTP11 && !toHEAD(x) {
		out.buf = x.Response.Prebuilt
		x.Sent = x.Response.Length
		return out.flush()
	}
	room := ss.server.heads.Get().(*[]byte)
	out.buf = *room
	err := ss.answer(&out, x)
	ss.server.heads.Put(room)
	if err == nil && x.Response.Tunnel != nil {
		ss.keep = false
		return ss.tunnel(x)
	}
	return err
}

// answer sends head and body.
func (ss *session) answer(out *sender, x *exchange.Exchange) error {
	room := out.buf
	how := ss.frame(x)
	var err error
	out.buf, err = ss.head(room, x, how)
	if err != nil {
		out.buf = ss.instead(room, x, http.StatusInternalServerError, err)
		return errors.Join(err, out.flush())
	}
	if how == noBody {
		return out.flush()
	}
	err = out.body(x.Response.Body, how, x.Response.Length)
	x.Sent = out.count
	if err != nil && !out.sent {
		out.buf = ss.instead(room, x, http.StatusBadGateway, err)
		return errors.Join(err, out.flush())
	}
	return err
}

// instead writes an error of weir's own in place of an answer that cannot be
// sent and has not begun. The connection is closed after it.
func (ss *session) instead(b []byte, x *exchange.Exchange, status int, why error) []byte {
	ss.keep = false
	x.Fail(status, why.Error())
	body, _ := x.Response.Body.(*exchange.Bytes) // as Fail made it
	b, err := appendResponse(b, &x.Response, counted, closing, ss.date(x.Began))
	if err == nil && !toHEAD(x) {
		b = append(b, body.Rest()...)
	}
	return b
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

// head writes the answer's head.
func (ss *session) head(b []byte, x *exchange.Exchange, how framing) ([]byte, error) {
	if !ss.consumed(x) {
		ss.keep = false
	}
	return appendResponse(b, &x.Response, how, ss.connection(x), ss.date(x.Began))
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
