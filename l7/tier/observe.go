package tier

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"weir/l7/exchange"
)

// refusals counts what never became a request.
type refusals struct {
	connections atomic.Uint64 // limits, handshakes, PROXY headers

	mu       sync.Mutex
	requests map[int]uint64 // malformed ones, by the status of the answer
}

func (t *Tier) refuse(_ *exchange.Client, status int, _ error) {
	t.refused.mu.Lock()
	defer t.refused.mu.Unlock()
	if t.refused.requests == nil {
		t.refused.requests = map[int]uint64{}
	}
	t.refused.requests[status]++
}

// collector gives what is not counted by route or pool.
type collector struct{ t *Tier }

// Collectors are the tier's metrics.
func (t *Tier) Collectors() []prometheus.Collector {
	return []prometheus.Collector{t.metrics, collector{t}}
}

var (
	descRefused     = prometheus.NewDesc("weir_http_refused_total", "Malformed requests, by status of the answer.", []string{"code"}, nil)
	descUnserved    = prometheus.NewDesc("weir_http_connections_refused_total", "Connections that were not served: limits, handshakes, PROXY headers.", nil, nil)
	descConnections = prometheus.NewDesc("weir_http_connections", "Open connections of clients, over TCP.", []string{"listener"}, nil)
	descLogDropped  = prometheus.NewDesc("weir_http_log_dropped_total", "Lines of access logs for which there was no room.", []string{"file"}, nil)
	descLogFailed   = prometheus.NewDesc("weir_http_log_failed_total", "Lines of access logs that could not be written.", []string{"file"}, nil)
	descCache       = prometheus.NewDesc("weir_http_cache_requests_total", "Requests that a cache was asked for.", []string{"cache", "result"}, nil)
	descCacheBytes  = prometheus.NewDesc("weir_http_cache_memory_bytes", "Memory that a cache uses.", []string{"cache"}, nil)
	descTraces      = prometheus.NewDesc("weir_http_spans_dropped_total", "Spans that were not exported.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRefused, descUnserved, descConnections, descLogDropped, descLogFailed, descCache, descCacheBytes, descTraces} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	t := c.t
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	t.refused.mu.Lock()
	for status, n := range t.refused.requests {
		counter(descRefused, n, strconv.Itoa(status))
	}
	t.refused.mu.Unlock()
	counter(descUnserved, t.refused.connections.Load())
	t.mu.Lock()
	defer t.mu.Unlock()
	open := map[string]int64{}
	for _, p := range t.parts.ends {
		open[p.it.listener.Name] += p.it.open.Load()
	}
	for _, e := range t.leaving {
		open[e.listener.Name] += e.open.Load()
	}
	for name, n := range open {
		out <- prometheus.MustNewConstMetric(descConnections, prometheus.GaugeValue, float64(n), name)
	}
	for file, p := range t.parts.sinks {
		counter(descLogDropped, p.it.Dropped(), file)
		counter(descLogFailed, p.it.Failed(), file)
	}
	for name, p := range t.parts.caches {
		s := p.it.Stats()
		counter(descCache, uint64(s.Hits), name, "hit")
		counter(descCache, uint64(s.Misses), name, "miss")
		out <- prometheus.MustNewConstMetric(descCacheBytes, prometheus.GaugeValue, float64(s.Memory), name)
	}
	for _, p := range t.parts.tracers {
		counter(descTraces, p.it.Dropped())
	}
}

// ReopenLogs opens the files of access logs anew, after they were moved.
func (t *Tier) ReopenLogs() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.parts.sinks {
		p.it.Reopen()
	}
}
