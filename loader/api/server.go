// Package api is the admin API: HTTP and JSON on a unix socket, for the CLI
// and for scrapers.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"weir/loader/control"
)

// Options are what the API shows and steers.
type Options struct {
	Control    *control.Controller
	DataPlane  control.DataPlane
	HTTP       HTTP // nil: no HTTP tier
	Version    string
	ConfigFile string
	Log        *slog.Logger // nil: nothing is logged
	ProcSys    string       // "": /proc/sys
}

// Server answers the admin API.
type Server struct {
	opts    Options
	limits  limits
	started time.Time
}

// New prepares a server; nothing is started.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ProcSys == "" {
		o.ProcSys = "/proc/sys"
	}
	return &Server{opts: o, limits: defaultLimits, started: time.Now()}
}

// limits are the times that parts of one request may take. The event stream
// lifts those on its body and answer.
type limits struct{ header, body, answer, idle, stop time.Duration }

var defaultLimits = limits{
	header: 5 * time.Second,
	body:   10 * time.Second,
	answer: 30 * time.Second,
	idle:   60 * time.Second,
	stop:   2 * time.Second,
}

const (
	maxHeader = 16 << 10 // bytes
	maxBody   = 64 << 10 // bytes
)

// Serve answers on l until ctx ends, which ends event streams too and gives
// other requests a moment to finish. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: s.limits.header,
		ReadTimeout:       s.limits.body,
		WriteTimeout:      s.limits.answer,
		IdleTimeout:       s.limits.idle,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.stop)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		return errors.Join(srv.Close()) // whoever is left has had its moment
	}
	return nil
}

// Handler is the API without its socket.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range append([]endpoint{
		{"GET", "/v1/status", s.status},
		{"GET", "/v1/services", s.services},
		{"GET", "/v1/backends", s.backends},
		{"GET", "/v1/overrides", s.overrides},
		{"GET", "/v1/weights", s.weights},
		{"GET", "/v1/weights/{pool}/{endpoint}", s.backendWeight},
		{"POST", "/v1/backends/{pool}/{endpoint}/weight", s.setWeight},
		{"POST", "/v1/backends/{pool}/{endpoint}/drain", s.drain},
		{"POST", "/v1/backends/{pool}/{endpoint}/ready", s.makeReady},
		{"POST", "/v1/reload", s.reload},
		{"GET", "/v1/events", s.events},
		{"GET", "/v1/flows", s.flows},
		{"GET", "/v1/capture", s.capture},
		{"GET", "/v1/explain", s.explain},
		{"GET", "/v1/acl", s.acls},
		{"GET", "/v1/acl/test", s.testACL},
		{"GET", "/metrics", s.metrics},
	}, s.httpRoutes()...) {
		mux.HandleFunc(r.method+" "+r.path, s.whenReady(r.handle))
		mux.HandleFunc(r.path, methodNotAllowed(r.method))
	}
	mux.HandleFunc("/", notFound)
	return mux
}

// whenReady answers 503 until the data plane holds the configuration.
func (s *Server) whenReady(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.opts.Control.Snapshot() == nil {
			w.Header().Set("Retry-After", "1")
			fail(w, http.StatusServiceUnavailable, errStarting)
			return
		}
		h(w, r)
	}
}

var errStarting = errors.New("the daemon is starting: the data plane does not hold the configuration yet")

// view reads what is in force and the counters.
func (s *Server) view() (view, error) {
	c, err := s.opts.DataPlane.Counters()
	return view{Snapshot: s.opts.Control.Snapshot(), counters: c, hopReason: s.opts.Control.HopReason, agent: s.opts.Control.Agent}, err
}
