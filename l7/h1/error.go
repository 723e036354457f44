package h1

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
)

// Error is a message that breaks the rules of HTTP/1.1.
type Error struct {
	Status int // what a client is answered: 400, 405, 414, 417 or 505
	What   string
}

func (e *Error) Error() string { return "malformed message: " + e.What }

// errIncomplete is a head whose end has not come yet.
var errIncomplete = errors.New("incomplete")

// errClosed is what reading a closed body gives.
var errClosed = errors.New("read a body that was closed")

// errGone is the end of an exchange that nobody waits for.
var errGone = errors.New("the client has gone")

// errBroken tells that a connection failed while it was written to.
var errBroken = errors.New("the connection is broken")

var (
	errBareLF = refuse("a line feed without a carriage return")
	errFields = refuse("too many fields")
	errHead   = refuse("a head that is too long")
	errTarget = &Error{http.StatusRequestURITooLong, "a request line that is too long"} // RFC 9112, 3
)

func refuse(format string, args ...any) error {
	return &Error{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// short is what an error shows of a text that a peer made up.
func short(b []byte) []byte { return b[:min(len(b), 64)] }

// Failure is an exchange with a backend that got no answer.
type Failure struct {
	Err      error
	Sent     bool // part of the request went out, so the backend may act on it
	Taken    bool // part of the request's body was read
	Answered bool // part of an answer came
	Client   bool // the client is to blame: its body did not come, it has gone, or what it asks cannot be sent
}

func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap is for errors.Is and As.
func (f *Failure) Unwrap() error { return f.Err }

// Timeout reports whether the backend took too long.
func (f *Failure) Timeout() bool {
	return errors.Is(f.Err, os.ErrDeadlineExceeded) || errors.Is(f.Err, context.DeadlineExceeded)
}

// Gone reports whether the client has not waited.
func (f *Failure) Gone() bool { return errors.Is(f.Err, errGone) }
