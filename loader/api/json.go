package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"weir/loader/api/wire"
	"weir/loader/control"
	"weir/loader/lb"
)

func answer(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer could not be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(b, '\n')) // an error here means that the client has gone
}

func fail(w http.ResponseWriter, status int, err error) {
	answer(w, status, wire.Error{Error: err.Error()})
}

// refuse answers with the status that fits the error.
func refuse(w http.ResponseWriter, err error) {
	fail(w, statusOf(err), err)
}

func statusOf(err error) int {
	var bad *badRequest
	var filter *lb.FilterError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &bad), errors.As(err, &filter):
		return http.StatusBadRequest
	case errors.Is(err, lb.ErrBusy):
		return http.StatusConflict
	case errors.Is(err, control.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, control.ErrInvalid):
		return http.StatusUnprocessableEntity
	case errors.Is(err, control.ErrStopped):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// badRequest is a request that cannot be understood.
type badRequest struct{ err error }

func (b *badRequest) Error() string { return b.err.Error() }
func (b *badRequest) Unwrap() error { return b.err }

func badf(format string, args ...any) error { return &badRequest{fmt.Errorf(format, args...)} }

// decode reads the one JSON value that the body shall be.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return badf("reading the body: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("data after the JSON value")
		}
		return badf("reading the body: %w", err)
	}
	return nil
}

// noBody refuses a body where none is wanted.
func noBody(w http.ResponseWriter, r *http.Request) error {
	n, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return badf("reading the body: %w", err)
	}
	if n > 0 {
		return badf("this request takes no body")
	}
	return nil
}

func notFound(w http.ResponseWriter, r *http.Request) {
	fail(w, http.StatusNotFound, fmt.Errorf("path %s does not exist", r.URL.Path))
}

func methodNotAllowed(allowed string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed)
		fail(w, http.StatusMethodNotAllowed, fmt.Errorf("method %s is not allowed on %s; use %s", r.Method, r.URL.Path, allowed))
	}
}
