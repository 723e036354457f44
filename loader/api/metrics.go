package api

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weir/loader/control"
)

func (s *Server) metricsHandler() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(newCollector(s))
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
}

// collector reads the data plane at each scrape.
type collector struct {
	server *Server

	backendPackets, backendBytes, backendReplyPackets, backendReplyBytes *prometheus.Desc
	backendFlows, backendUnstored, backendActive, backendWeight          *prometheus.Desc
	packets, slots, used, build, reloads, applySeconds, applyFailures    *prometheus.Desc
}

func newCollector(s *Server) *collector {
	backend := []string{"service", "vip", "pool", "backend"}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weir_"+name, help, labels, nil)
	}
	return &collector{
		server:              s,
		backendPackets:      desc("backend_packets_total", "Packets sent to the backend.", backend...),
		backendBytes:        desc("backend_bytes_total", "Bytes of whole frames sent to the backend.", backend...),
		backendReplyPackets: desc("backend_reply_packets_total", "Packets of replies that went back through this node.", backend...),
		backendReplyBytes:   desc("backend_reply_bytes_total", "Bytes of whole frames of such replies.", backend...),
		backendFlows:        desc("backend_flows_total", "Flows assigned to the backend.", backend...),
		backendUnstored:     desc("backend_unstored_packets_total", "Packets forwarded with no room to store their flow.", backend...),
		backendActive:       desc("backend_active_flows", "Flows of the backend now.", backend...),
		backendWeight:       desc("backend_weight", "Weight of the backend, in units of configured weights.", "pool", "backend", "kind"),
		packets:             desc("packets_total", "Packets that were dropped or passed to the local stack, by reason.", "verdict", "reason"),
		slots:               desc("flow_table_slots", "Flows that the flow table has room for."),
		used:                desc("flow_table_used_slots", "Slots in use at the last sweep.", "state"),
		build:               desc("build_info", "Always 1.", "version", "goversion"),
		reloads:             desc("config_reloads_total", "Configurations read after the first.", "result"),
		applySeconds:        desc("apply_seconds", "Time that the data plane took to take changes over."),
		applyFailures:       desc("apply_failures_total", "Changes that the data plane refused."),
	}
}

// Describe sends nothing: the collector is unchecked, since labels of retired
// backends come and go.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads the data plane once.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	v, err := c.server.view()
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.backendPackets, err)
		return
	}
	c.collectBackends(v, out)
	c.collectWeights(v, out)
	for _, r := range v.counters.Reasons {
		out <- counter(c.packets, r.Packets, r.Verdict, r.Reason)
	}
	c.collectNode(c.server.opts.Control.Stats(), out)
}

func (c *collector) collectBackends(v view, out chan<- prometheus.Metric) {
	for _, b := range v.backends() {
		for _, s := range mergeServices(b.Services) {
			labels := []string{s.Service, s.VIP.String(), b.Pool, b.Backend.String()}
			out <- counter(c.backendPackets, s.Packets, labels...)
			out <- counter(c.backendBytes, s.Bytes, labels...)
			out <- counter(c.backendReplyPackets, s.ReplyPackets, labels...)
			out <- counter(c.backendReplyBytes, s.ReplyBytes, labels...)
			out <- counter(c.backendFlows, s.Flows, labels...)
			out <- counter(c.backendUnstored, s.Unstored, labels...)
			out <- gauge(c.backendActive, float64(s.Active), labels...)
		}
	}
}

func (c *collector) collectWeights(v view, out chan<- prometheus.Metric) {
	for _, p := range v.Config.Pools {
		now := v.Backends(p.Name)
		for i, b := range p.Backends {
			endpoint := b.Endpoint().String()
			out <- gauge(c.backendWeight, float64(b.Weight), p.Name, endpoint, "configured")
			out <- gauge(c.backendWeight, control.Units(now[i].Effective), p.Name, endpoint, "effective")
		}
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
