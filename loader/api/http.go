package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/loader/api/wire"
)

// HTTP is the HTTP tier as the API shows and steers it. Errors say what is wrong
// with what was asked.
type HTTP interface {
	Routes() []wire.Route
	ExplainRoute(wire.RouteQuestion) (wire.RouteExplanation, error)
	Certificates() []wire.Certificate
	Caches() []wire.Cache
	CacheEntries(cache, url string) ([]wire.CacheEntry, error)
	Purge(wire.Purge) (urls int, err error)
	Collectors() []prometheus.Collector
}

// httpRoutes are the API's own.
func (s *Server) httpRoutes() []endpoint {
	return []endpoint{
		{"GET", "/v1/http/routes", s.tier(func(w http.ResponseWriter, _ *http.Request) error {
			answer(w, http.StatusOK, wire.Routes{Routes: s.opts.HTTP.Routes()})
			return nil
		})},
		{"POST", "/v1/http/explain", s.tier(s.explainRoute)},
		{"GET", "/v1/http/certificates", s.tier(func(w http.ResponseWriter, _ *http.Request) error {
			answer(w, http.StatusOK, wire.Certificates{Certificates: s.opts.HTTP.Certificates()})
			return nil
		})},
		{"GET", "/v1/http/caches", s.tier(func(w http.ResponseWriter, _ *http.Request) error {
			answer(w, http.StatusOK, wire.Caches{Caches: s.opts.HTTP.Caches()})
			return nil
		})},
		{"GET", "/v1/http/cache", s.tier(s.cacheEntries)},
		{"POST", "/v1/http/purge", s.tier(s.purge)},
	}
}

// certificateWarnings tells of certificates that end soon, and of files that
// are not in use.
func (s *Server) certificateWarnings() (all []string) {
	if s.opts.HTTP == nil {
		return nil
	}
	for _, c := range s.opts.HTTP.Certificates() {
		name := strings.Join(c.Hosts, ", ")
		if c.Expiring {
			all = append(all, fmt.Sprintf("certificate of %s ends in %d days, at %s (%s)", name, c.DaysLeft, c.NotAfter.UTC().Format(time.RFC3339), c.Source))
		}
		if c.Error != "" {
			all = append(all, fmt.Sprintf("certificate of %s: newer files are refused: %s", name, c.Error))
		}
	}
	return all
}

// endpoint is one thing that the API answers.
type endpoint struct {
	method, path string
	handle       func(http.ResponseWriter, *http.Request)
}

var errNoTier = errors.New("this daemon has no HTTP tier")

func (s *Server) tier(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.opts.HTTP == nil {
			fail(w, http.StatusNotFound, errNoTier)
			return
		}
		if err := h(w, r); err != nil {
			refuse(w, err)
		}
	}
}

func (s *Server) explainRoute(w http.ResponseWriter, r *http.Request) error {
	var q wire.RouteQuestion
	if err := decode(w, r, &q); err != nil {
		return err
	}
	e, err := s.opts.HTTP.ExplainRoute(q)
	if err != nil {
		return &badRequest{err}
	}
	answer(w, http.StatusOK, e)
	return nil
}

func (s *Server) cacheEntries(w http.ResponseWriter, r *http.Request) error {
	v := r.URL.Query()
	if err := onlyKeys(v, "cache", "url"); err != nil {
		return err
	}
	all, err := s.opts.HTTP.CacheEntries(v.Get("cache"), v.Get("url"))
	if err != nil {
		return &badRequest{err}
	}
	answer(w, http.StatusOK, wire.CacheEntries{Entries: all})
	return nil
}

func (s *Server) purge(w http.ResponseWriter, r *http.Request) error {
	var p wire.Purge
	if err := decode(w, r, &p); err != nil {
		return err
	}
	if ways := count(p.URL != "", p.Prefix != "", p.Tag != "", p.All); ways != 1 {
		return badf("a purge needs one of url, prefix, tag and all, and has %d", ways)
	}
	n, err := s.opts.HTTP.Purge(p)
	if err != nil {
		return &badRequest{err}
	}
	answer(w, http.StatusOK, wire.Purged{URLs: n})
	return nil
}

func count(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}
