package api_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/loader/api"
	"weir/loader/api/wire"
)

// fakeHTTP is a tier with one of everything.
type fakeHTTP struct{ purged []wire.Purge }

func (f *fakeHTTP) Routes() []wire.Route { return []wire.Route{{Name: "app", Action: "pool web"}} }

func (f *fakeHTTP) ExplainRoute(q wire.RouteQuestion) (wire.RouteExplanation, error) {
	if q.URL == "" {
		return wire.RouteExplanation{}, errors.New("no URL")
	}
	return wire.RouteExplanation{Path: q.URL, Tried: []wire.RouteTried{}}, nil
}

func (f *fakeHTTP) Certificates() []wire.Certificate {
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	return []wire.Certificate{{Hosts: []string{"a.example", "b.example"}, Source: "/a.crt", NotAfter: at, DaysLeft: 5, Expiring: true, Error: "no pair"}}
}

func (f *fakeHTTP) Caches() []wire.Cache { return []wire.Cache{{Name: "main", Hits: 3}} }

func (f *fakeHTTP) CacheEntries(cache, url string) ([]wire.CacheEntry, error) {
	if cache == "none" {
		return nil, errors.New("there is no cache")
	}
	return []wire.CacheEntry{{Cache: "main", URL: url}}, nil
}

func (f *fakeHTTP) Purge(p wire.Purge) (int, error) {
	f.purged = append(f.purged, p)
	return 7, nil
}

func (f *fakeHTTP) Collectors() []prometheus.Collector {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_http_test_total", Help: "x"})
	c.Add(5)
	return []prometheus.Collector{c}
}

func TestHTTPTier(t *testing.T) {
	r := start(t, config(t))
	fake := &fakeHTTP{}
	with := api.New(api.Options{Control: r.control, DataPlane: r.data, HTTP: fake}).Handler()
	without := api.New(api.Options{Control: r.control, DataPlane: r.data}).Handler()
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/http/routes", "", 200, `{"routes":[{"name":"app","action":"pool web"}]}`},
		{"POST", "/v1/http/explain", `{"method":"GET","url":"http://a/"}`, 200, `"path":"http://a/"`},
		{"POST", "/v1/http/explain", `{"method":"GET"}`, 400, "no URL"},
		{"POST", "/v1/http/explain", `{"verb":"GET"}`, 400, "unknown field"},
		{"GET", "/v1/http/certificates", "", 200, `"days_left":5`},
		{"GET", "/v1/http/caches", "", 200, `"name":"main","hits":3`},
		{"GET", "/v1/http/cache?url=http://a/", "", 200, `"url":"http://a/"`},
		{"GET", "/v1/http/cache?cache=none", "", 400, "there is no cache"},
		{"GET", "/v1/http/cache?what=x", "", 400, "what"},
		{"POST", "/v1/http/purge", `{"tag":"x","cache":"main"}`, 200, `{"urls":7}`},
		{"POST", "/v1/http/purge", `{"tag":"x","all":true}`, 400, "a purge needs one of url, prefix, tag and all, and has 2"},
		{"POST", "/v1/http/purge", `{}`, 400, "and has 0"},
		{"GET", "/v1/http/purge", "", 405, "use POST"},
		{"GET", "/metrics", "", 200, "weir_http_test_total 5\n"},
		{"GET", "/v1/status", "", 200, `certificate of a.example, b.example ends in 5 days, at 2026-12-01T00:00:00Z (/a.crt)`},
		{"GET", "/v1/status", "", 200, `certificate of a.example, b.example: newer files are refused: no pair`},
	} {
		w := httptest.NewRecorder()
		with.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s %s: %d %s, want %d %s", c.method, c.path, c.body, w.Code, w.Body, c.status, c.want)
		}
		if !strings.HasPrefix(c.path, "/v1/http/") || c.status == 405 {
			continue
		}
		w = httptest.NewRecorder()
		without.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(c.body)))
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "this daemon has no HTTP tier") {
			t.Errorf("%s %s without a tier: %d %s", c.method, c.path, w.Code, w.Body)
		}
	}
	if len(fake.purged) != 1 || fake.purged[0].Tag != "x" || fake.purged[0].Cache != "main" {
		t.Errorf("purged %+v", fake.purged)
	}
}
