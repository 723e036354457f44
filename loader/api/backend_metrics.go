package api

import (
	"bufio"
	"fmt"

	"weir/loader/api/wire"
	"weir/loader/control"
)

// backendSeries are the labels of one backend of one service as they are
// written, and its counts.
//
// These metrics are written here, a line after the other: with 100,000 backends
// there are 900,000, for which the client library takes several seconds and
// 700 MB.
type backendSeries struct {
	labels  string
	traffic wire.Traffic
}

// backendFamilies are the metrics of which each backend of a service has one.
var backendFamilies = [...]struct {
	name, kind, help string
	value            func(*wire.Traffic) uint64
}{
	{"packets_total", "counter", "Packets sent to the backend.", func(t *wire.Traffic) uint64 { return t.Packets }},
	{"bytes_total", "counter", "Bytes of whole frames sent to the backend.", func(t *wire.Traffic) uint64 { return t.Bytes }},
	{"reply_packets_total", "counter", "Packets of replies that went back through this node.", func(t *wire.Traffic) uint64 { return t.ReplyPackets }},
	{"reply_bytes_total", "counter", "Bytes of whole frames of such replies.", func(t *wire.Traffic) uint64 { return t.ReplyBytes }},
	{"flows_total", "counter", "Flows assigned to the backend.", func(t *wire.Traffic) uint64 { return t.Flows }},
	{"unstored_packets_total", "counter", "Packets forwarded with no room to store their flow.", func(t *wire.Traffic) uint64 { return t.Unstored }},
	{"active_flows", "gauge", "Flows of the backend now.", func(t *wire.Traffic) uint64 { return t.Active }},
}

func (v view) writeBackends(out *bufio.Writer) {
	var all []backendSeries
	for _, b := range v.backends() {
		for _, s := range mergeServices(b.Services) {
			labels := fmt.Sprintf("{backend=%q,pool=%q,service=%q,vip=%q} ", b.Backend, b.Pool, s.Service, s.VIP)
			all = append(all, backendSeries{labels, s.Traffic})
		}
	}
	if len(all) == 0 {
		return
	}
	for _, f := range backendFamilies {
		name := "weir_backend_" + f.name
		writeHead(out, name, f.kind, f.help)
		for i := range all {
			fmt.Fprintf(out, "%s%s%d\n", name, all[i].labels, f.value(&all[i].traffic))
		}
	}
}

// writeRefused has lines of the services that may refuse packets.
func (v view) writeRefused(out *bufio.Writer) {
	const name = "weir_service_refused_packets_total"
	if len(v.counters.Services) == 0 {
		return
	}
	writeHead(out, name, "counter", "Packets that a service refused: from sources that are denied, or over a limit of new flows.")
	for _, c := range v.counters.Services {
		service := v.ServiceAt(c.VIP).Name
		for _, n := range []struct {
			reason  string
			packets uint64
		}{{"acl", c.ACL}, {"new_flows_per_source", c.NewFlowsPerSource}, {"max_new_flows", c.MaxNewFlows}} {
			fmt.Fprintf(out, "%s{reason=%q,service=%q,vip=%q} %d\n", name, n.reason, service, c.VIP, n.packets)
		}
	}
}

func (v view) writeWeights(out *bufio.Writer) {
	const name = "weir_backend_weight"
	if v.backendCount() == 0 {
		return
	}
	writeHead(out, name, "gauge", "Weight of the backend, in units of configured weights.")
	for _, p := range v.Config.Pools {
		now := v.Backends(p.Name)
		for i, b := range p.Backends {
			fmt.Fprintf(out, "%s{backend=%q,kind=\"configured\",pool=%q} %d\n", name, b.Endpoint(), p.Name, b.Weight)
			fmt.Fprintf(out, "%s{backend=%q,kind=\"effective\",pool=%q} %v\n", name, b.Endpoint(), p.Name, control.Units(now[i].Effective))
		}
	}
}

func writeHead(out *bufio.Writer, name, kind, help string) {
	fmt.Fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}
