package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"weir/agent/state"
)

// Agent is what the socket shows and steers. It is called concurrently.
type Agent interface {
	Status() Status
	// Order changes the state, which it returns once it is kept and in force.
	Order(Order) (state.State, error)
}

// Serve answers on l until ctx ends, and closes it.
func Serve(ctx context.Context, l net.Listener, a Agent) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, a.Status()) })
	mux.HandleFunc("POST "+statePath, func(w http.ResponseWriter, q *http.Request) { order(w, q, a) })
	server := &http.Server{Handler: mux, ReadTimeout: timeout, WriteTimeout: timeout, IdleTimeout: timeout, MaxHeaderBytes: maxBody}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if server.Shutdown(late) != nil {
			server.Close()
		}
	})
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("agent's socket: %w", err)
	}
	<-stopped
	return nil
}

func order(w http.ResponseWriter, q *http.Request, a Agent) {
	d := json.NewDecoder(http.MaxBytesReader(w, q.Body, maxBody))
	d.DisallowUnknownFields()
	var o Order
	if err := d.Decode(&o); err != nil {
		answer(w, http.StatusBadRequest, fault{fmt.Sprintf("not an order: %v", err)})
		return
	}
	s, err := a.Order(o)
	if err != nil {
		answer(w, http.StatusUnprocessableEntity, fault{err.Error()})
		return
	}
	answer(w, http.StatusOK, s)
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	body, err := json.Marshal(v)
	if err == nil {
		w.Write(body)
	}
}
