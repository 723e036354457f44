package agents

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"weir/agent/report"
)

// Reason is why an answer was no report. Beside these there are the Refusals
// of package report.
type Reason = report.Refusal

// Reasons.
const (
	ReasonTimeout     Reason = "timeout"        // no whole answer in time
	ReasonRefused     Reason = "refused"        // nobody listens
	ReasonReset       Reason = "reset"          // the connection was broken off or ended early
	ReasonUnreachable Reason = "unreachable"    // no way there
	ReasonTLS         Reason = "tls"            // the handshake failed, or the certificate is not good
	ReasonIdentity    Reason = "wrong_identity" // it speaks for another backend
	ReasonStatus      Reason = "status"         // HTTP status other than 200
	ReasonLocal       Reason = "local"          // this host could not ask
)

// Reasons are all of them, those of package report included.
func Reasons() []Reason {
	return append([]Reason{ReasonTimeout, ReasonRefused, ReasonReset, ReasonUnreachable, ReasonTLS, ReasonIdentity, ReasonStatus, ReasonLocal},
		report.Refusals()...)
}

// failure is an answer that was no report.
type failure struct {
	why Reason
	err error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// reasonOf is why an answer was no report.
func reasonOf(err error) Reason {
	if f := (*failure)(nil); errors.As(err, &f) {
		return f.why
	}
	if r := (*report.RefusedError)(nil); errors.As(err, &r) {
		return r.Why
	}
	for _, k := range []struct {
		why  Reason
		errs []error
	}{
		{ReasonTimeout, []error{context.DeadlineExceeded, os.ErrDeadlineExceeded, syscall.ETIMEDOUT}},
		{ReasonRefused, []error{syscall.ECONNREFUSED}},
		{ReasonUnreachable, []error{syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN}},
		{ReasonLocal, []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM}},
		{ReasonReset, []error{syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed}},
	} {
		for _, e := range k.errs {
			if errors.Is(err, e) {
				return k.why
			}
		}
	}
	if isTLS(err) {
		return ReasonTLS
	}
	return report.Malformed
}

func isTLS(err error) bool {
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var host x509.HostnameError
	return errors.As(err, &alert) || errors.As(err, &record) || errors.As(err, &verify) || errors.As(err, &host)
}
