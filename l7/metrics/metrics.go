// Package metrics counts requests by route and by pool, for Prometheus.
package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/l7/exchange"
)

// Metrics is a prometheus.Collector. Its methods may be called from any
// goroutine; Keep from one at a time.
type Metrics struct {
	known atomic.Pointer[series]

	requests, sent, received, cut, retries, answers *prometheus.CounterVec
	duration, wait                                  *prometheus.HistogramVec
}

// series are those of routes and pools that there are, found by a look-up.
type series struct {
	routes map[string]*route
	pools  map[string]*pool
}

type route struct {
	byClass             [classes]prometheus.Counter
	sent, received, cut prometheus.Counter
	duration            prometheus.Observer
}

type pool struct {
	byClass [classes]prometheus.Counter
	retries prometheus.Counter
	wait    prometheus.Observer
}

// classNames are what statuses are counted as: 101 is 1xx.
var classNames = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}

const classes = len(classNames)

func class(status int) int { return min(max(status/100, 1), classes) - 1 }

// buckets are from what a cache needs to what a patient client bears, in
// seconds.
var buckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// New makes metrics of no routes and pools yet.
func New() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_http_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "weir_http_" + name, Help: help, Buckets: buckets}, labels)
	}
	m := &Metrics{
		requests: counter("requests_total", "Requests that were answered, by class of status.", "route", "code"),
		sent:     counter("sent_bytes_total", "Bytes of bodies that clients were sent.", "route"),
		received: counter("received_bytes_total", "Bytes of bodies that clients sent.", "route"),
		cut:      counter("cut_total", "Answers that were not sent whole.", "route"),
		duration: histogram("request_seconds", "Time from a request's header to the end of its answer.", "route"),
		answers:  counter("pool_requests_total", "Answers of a pool, weir's own for lack of one included, by class of status.", "pool", "code"),
		retries:  counter("pool_retries_total", "Requests that were sent to a pool again.", "pool"),
		wait:     histogram("pool_answer_seconds", "Time until the header of a pool's answer was there.", "pool"),
	}
	m.known.Store(&series{})
	return m
}

// Keep says which routes and pools there are. Counts of those that are gone go.
func (m *Metrics) Keep(routes, pools []string) {
	old := m.known.Load()
	next := &series{routes: map[string]*route{}, pools: map[string]*pool{}}
	for _, name := range append(routes, "") { // "": no route matched
		if next.routes[name] = old.routes[name]; next.routes[name] == nil {
			next.routes[name] = m.newRoute(name)
		}
	}
	for _, name := range pools {
		if next.pools[name] = old.pools[name]; next.pools[name] == nil {
			next.pools[name] = m.newPool(name)
		}
	}
	m.known.Store(next)
	for name := range old.routes {
		if next.routes[name] == nil {
			m.forget("route", name, m.requests, m.sent, m.received, m.cut)
			m.duration.DeleteLabelValues(name)
		}
	}
	for name := range old.pools {
		if next.pools[name] == nil {
			m.forget("pool", name, m.answers, m.retries)
			m.wait.DeleteLabelValues(name)
		}
	}
}

func (m *Metrics) forget(label, value string, from ...*prometheus.CounterVec) {
	for _, v := range from {
		v.DeletePartialMatch(prometheus.Labels{label: value})
	}
}

func (m *Metrics) newRoute(name string) *route {
	r := &route{
		sent: m.sent.WithLabelValues(name), received: m.received.WithLabelValues(name), cut: m.cut.WithLabelValues(name),
		duration: m.duration.WithLabelValues(name),
	}
	for i, c := range classNames {
		r.byClass[i] = m.requests.WithLabelValues(name, c)
	}
	return r
}

func (m *Metrics) newPool(name string) *pool {
	p := &pool{retries: m.retries.WithLabelValues(name), wait: m.wait.WithLabelValues(name)}
	for i, c := range classNames {
		p.byClass[i] = m.answers.WithLabelValues(name, c)
	}
	return p
}

// Answered counts what a pool made of a request. It is called when the header
// of the answer is there.
func (m *Metrics) Answered(x *exchange.Exchange, now time.Time) {
	p := m.known.Load().pools[x.Pool]
	if p == nil {
		return
	}
	p.byClass[class(x.Response.Status)].Inc()
	p.wait.Observe(now.Sub(x.Began).Seconds())
	if x.Attempts > 1 {
		p.retries.Add(float64(x.Attempts - 1))
	}
}

// Ended counts an exchange that has ended.
func (m *Metrics) Ended(x *exchange.Exchange, now time.Time) {
	r := m.known.Load().routes[x.Route]
	if r == nil {
		return // of a route that a reload removed
	}
	r.byClass[class(x.Response.Status)].Inc()
	r.duration.Observe(now.Sub(x.Began).Seconds())
	if x.Sent > 0 {
		r.sent.Add(float64(x.Sent))
	}
	if x.Received > 0 {
		r.received.Add(float64(x.Received))
	}
	if x.Cut != nil {
		r.cut.Inc()
	}
}

func (m *Metrics) each(do func(prometheus.Collector)) {
	for _, c := range []prometheus.Collector{m.requests, m.sent, m.received, m.cut, m.duration, m.answers, m.retries, m.wait} {
		do(c)
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	m.each(func(c prometheus.Collector) { c.Describe(out) })
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.each(func(c prometheus.Collector) { c.Collect(out) })
}
