package h1

import (
	"errors"
	"weir/l7/exchange"
	"weir/l7/stream"
)

// upload sends the body of a request while the answer is awaited or already
// read: backends may answer early, and some talk both ways at once.
type upload struct {
	from    exchange.Body
	out     sender
	left    int64 // bytes, or Unknown
	started bool
	done    chan error // what reading the body failed of, once
	failed  error      // taken from done
	ended   bool
}

func (u *upload) start() {
	u.started = true
	u.done = make(chan error, 1)
	how := counted
	if u.left == exchange.Unknown {
		how = chunked
	}
	go func() {
		err := u.out.body(u.from, how, u.left)
		if err == nil {
			u.done <- nil
			return
		}
		if u.out.broken {
			err = errBroken // whether there is an answer shows on the other side
		}
		u.done <- err
		if !errors.Is(err, errBroken) {
			u.out.conn.Interrupt() // half a request gets no answer
		}
	}()
}

// blame is what reading the client's body failed of so far.
func (u *upload) blame() error {
	if u.poll(); !errors.Is(u.failed, errBroken) {
		return u.failed
	}
	return nil
}

// poll looks whether the upload has ended.
func (u *upload) poll() {
	if !u.started || u.ended {
		return
	}
	select {
	case u.failed = <-u.done:
		u.ended = true
	default:
	}
}

// finish ends an upload, which has no purpose after the answer, and reports
// whether it was complete.
func (u *upload) finish(conn *stream.Conn) bool {
	if u.poll(); u.started && !u.ended {
		conn.Interrupt()
		_ = u.from.Close() // ends a read under way
		u.failed = <-u.done
		u.ended = true
	}
	return u.ended && u.failed == nil
}
