// Package serve answers who asks an agent: balancers over HTTPS with
// certificates on both sides, HAProxy's agent-check over plain TCP. Slow and
// hostile peers are bounded in number, time and bytes.
package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"weir/agent/report"
)

const (
	requestTimeout = 5 * time.Second // handshake, request, answer: each
	idleTimeout    = 90 * time.Second
	maxHeader      = 8 << 10 // bytes
	stopTimeout    = 2 * time.Second

	// maxConnAge lets a kept connection see certificates end and change.
	maxConnAge = 10 * time.Minute
)

// Reports is the HTTPS server of reports.
type Reports struct {
	files    Files
	report   func() report.Report
	identity atomic.Pointer[identity]
	listener net.Listener
	refused  atomic.Uint64
}

// NewReports reads the certificates and listens. backend may be empty if the
// certificate holds one name. Each call of source is one report with a sequence
// of its own; it may be called concurrently, and Backend is filled in.
func NewReports(address, backend string, files Files, source func() report.Report) (*Reports, error) {
	r := &Reports{files: files, report: source}
	id, err := files.load(backend)
	if err != nil {
		return nil, err
	}
	r.identity.Store(id)
	l, err := listen(address)
	if err != nil {
		return nil, fmt.Errorf("report server: %w", err)
	}
	r.listener = newBounded(l, &r.refused)
	return r, nil
}

func listen(address string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
}

// Backend is whom the agent speaks for.
func (r *Reports) Backend() string { return r.identity.Load().backend }

// Expires is when the agent's certificate ends.
func (r *Reports) Expires() time.Time { return r.identity.Load().expires }

// Addr is where reports are served.
func (r *Reports) Addr() net.Addr { return r.listener.Addr() }

// Refused counts connections over the bounds, and those that failed, most of
// them for want of a balancer's certificate.
func (r *Reports) Refused() uint64 { return r.refused.Load() }

// Reload reads the certificates again. If they are not good for the same
// backend, the old ones stay in force.
func (r *Reports) Reload() error {
	id, err := r.files.load(r.Backend())
	if err != nil {
		return err
	}
	r.identity.Store(id)
	return nil
}

// Close ends a server that is never run.
func (r *Reports) Close() error { return r.listener.Close() }

// connInfo is what a connection began with.
type connInfo struct {
	identity *identity
	since    time.Time
}

type connKey struct{}

// Run serves until ctx ends.
func (r *Reports) Run(ctx context.Context) error {
	only := new(http.Protocols)
	only.SetHTTP1(true)
	server := &http.Server{
		Handler:           http.HandlerFunc(r.handle),
		ReadHeaderTimeout: requestTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		Protocols:         only,
		ErrorLog:          log.New(countLines{&r.refused}, "", 0),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, connInfo{r.identity.Load(), time.Now()})
		},
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(stopped); shutdown(ctx, server) })
	defer stop()
	err := server.Serve(tls.NewListener(r.listener, &tls.Config{
		MinVersion:         tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.identity.Load().config, nil },
	}))
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped // requests that were under way have their answer
		return nil
	}
	return fmt.Errorf("report server: %w", err)
}

func shutdown(ctx context.Context, server *http.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		server.Close()
	}
}

func (r *Reports) handle(w http.ResponseWriter, q *http.Request) {
	began, ok := q.Context().Value(connKey{}).(connInfo)
	if !ok || began.identity != r.identity.Load() || time.Since(began.since) > maxConnAge {
		w.Header().Set("Connection", "close")
	}
	switch {
	case q.URL.Path != report.Path:
		http.Error(w, "the report is at "+report.Path, http.StatusNotFound)
		return
	case q.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "a report can only be got", http.StatusMethodNotAllowed)
		return
	case q.ContentLength != 0:
		w.Header().Set("Connection", "close") // what it sends is not read
		http.Error(w, "a request for a report has no body", http.StatusBadRequest)
		return
	}
	said := r.report()
	said.Backend = r.Backend()
	body, err := report.Encode(said)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", report.ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Cache-Control", "no-store")
	w.Write(body)
}

// countLines counts what net/http would log: peers that failed.
type countLines struct{ n *atomic.Uint64 }

func (c countLines) Write(b []byte) (int, error) {
	c.n.Add(uint64(bytes.Count(b, []byte("\n"))))
	return len(b), nil
}
