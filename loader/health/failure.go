package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// Reason is what kind of failure a probe met; failures are counted by it.
type Reason string

// Reasons.
const (
	ReasonTimeout     Reason = "timeout"     // no answer in time
	ReasonRefused     Reason = "refused"     // nobody listens
	ReasonReset       Reason = "reset"       // the connection was broken off or ended early
	ReasonUnreachable Reason = "unreachable" // no way there
	ReasonTLS         Reason = "tls"         // the handshake failed, or the certificate is not good
	ReasonStatus      Reason = "status"      // the backend answered that it cannot serve
	ReasonContent     Reason = "content"     // the answer is not what was asked for
	ReasonMalformed   Reason = "malformed"   // the answer breaks the protocol, or has no end
	ReasonCommand     Reason = "command"     // the command failed
	ReasonLocal       Reason = "local"       // this host could not probe
)

// Reasons are all of them.
func Reasons() []Reason {
	return []Reason{ReasonTimeout, ReasonRefused, ReasonReset, ReasonUnreachable, ReasonTLS, ReasonStatus,
		ReasonContent, ReasonMalformed, ReasonCommand, ReasonLocal}
}

// Failure is why a probe failed: what was being done, and what came of it.
type Failure struct {
	Reason Reason
	Doing  string // such as "connect"
	Err    error
}

func (f *Failure) Error() string {
	if f.Reason == ReasonTimeout {
		return f.Doing + ": no answer in time"
	}
	return f.Doing + ": " + f.Err.Error()
}

func (f *Failure) Unwrap() error { return f.Err }

// failed is a failure whose reason follows from err, or otherwise if that
// says nothing.
func failed(doing string, err error, otherwise Reason) error {
	if f := (*Failure)(nil); errors.As(err, &f) {
		return err
	}
	reason := reasonOf(err, otherwise)
	if p := (*os.PathError)(nil); errors.As(err, &p) && p.Op != "fork/exec" {
		err = p.Err // the file is our socket, and has no name
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the connection ended early")
	}
	return &Failure{Reason: reason, Doing: doing, Err: err}
}

// failedf is a failure of what the backend answered.
func failedf(reason Reason, doing, format string, args ...any) error {
	return &Failure{Reason: reason, Doing: doing, Err: fmt.Errorf(format, args...)}
}

func reasonOf(err error, otherwise Reason) Reason {
	for _, r := range []struct {
		reason Reason
		errs   []error
	}{
		{ReasonTimeout, []error{os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled, syscall.ETIMEDOUT}},
		{ReasonRefused, []error{syscall.ECONNREFUSED}},
		{ReasonReset, []error{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, io.EOF, io.ErrUnexpectedEOF}},
		{ReasonUnreachable, []error{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.EACCES, syscall.EPERM}},
		{ReasonLocal, []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM}},
	} {
		for _, e := range r.errs {
			if errors.Is(err, e) {
				return r.reason
			}
		}
	}
	return otherwise
}

// reasonFor is the reason of a probe's error.
func reasonFor(err error) Reason {
	if f := (*Failure)(nil); errors.As(err, &f) {
		return f.Reason
	}
	return reasonOf(err, ReasonMalformed)
}
