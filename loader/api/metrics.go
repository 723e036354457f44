package api

import (
	"bufio"
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"weir/loader/control"
)

// metrics answers in Prometheus text format: what concerns the node, gathered
// by the client library, then the backends.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	v, err := s.view()
	if err != nil {
		refuse(w, err)
		return
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(s, v))
	if s.opts.HTTP != nil {
		registry.MustRegister(s.opts.HTTP.Collectors()...)
	}
	families, err := registry.Gather()
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	out := bufio.NewWriterSize(w, 64<<10)
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(out, f); err != nil {
			return // the client has gone
		}
	}
	v.writeRefused(out)
	v.writeBackends(out)
	v.writeWeights(out)
	s.writeFactors(r.Context(), out)
	out.Flush() // an error here means that the client has gone
}

// collector holds one reading of the data plane.
type collector struct {
	server *Server
	view   view

	packets, slots, used, build, reloads, applySeconds, applyFailures, reports, refusedReports *prometheus.Desc
}

func newCollector(s *Server, v view) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weir_"+name, help, labels, nil)
	}
	return &collector{
		server:        s,
		view:          v,
		packets:       desc("packets_total", "Packets that were dropped or passed to the local stack, by reason.", "verdict", "reason"),
		slots:         desc("flow_table_slots", "Flows that the flow table has room for."),
		used:          desc("flow_table_used_slots", "Slots in use at the last sweep.", "state"),
		build:         desc("build_info", "Always 1.", "version", "goversion"),
		reloads:       desc("config_reloads_total", "Configurations read after the first.", "result"),
		applySeconds:  desc("apply_seconds", "Time that the data plane took to take changes over."),
		applyFailures: desc("apply_failures_total", "Changes that the data plane refused."),

		reports:        desc("agent_reports_total", "Reports of agents that arrived."),
		refusedReports: desc("agent_reports_refused_total", "Answers of agents that were no report, and reports that were not believed, by reason.", "reason"),
	}
}

// Describe names all that Collect sends.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, out)
}

// Collect gives the node's metrics.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for _, r := range c.view.counters.Reasons {
		out <- counter(c.packets, r.Packets, r.Verdict, r.Reason)
	}
	c.collectNode(c.server.opts.Control.Stats(), out)
	agents := c.server.opts.Control.AgentCounts()
	out <- counter(c.reports, agents.Reports)
	for why, n := range agents.Failures {
		out <- counter(c.refusedReports, n, string(why))
	}
}

func (c *collector) collectNode(s control.Stats, out chan<- prometheus.Metric) {
	out <- gauge(c.slots, float64(s.Flows.Slots))
	for state, n := range s.Flows.ByState {
		out <- gauge(c.used, float64(n), state)
	}
	out <- gauge(c.build, 1, c.server.opts.Version, runtime.Version())
	out <- counter(c.reloads, s.ReloadsLoaded, "loaded")
	out <- counter(c.reloads, s.ReloadsRefused, "refused")
	out <- prometheus.MustNewConstSummary(c.applySeconds, s.Applies, s.ApplyTime.Seconds(), nil)
	out <- counter(c.applyFailures, s.ApplyFailures)
}

func counter(d *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge(d *prometheus.Desc, x float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, x, labels...)
}
