package api

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"weir/loader/control"
	"weir/loader/weight"
)

// factorsWait is the longest time that a scrape waits for the control loop.
const factorsWait = 2 * time.Second

// writeFactors writes how the weights came about in pools where that changes by
// itself: those whose agents are asked or that follow reports. If the control
// loop is busy for long, they are left out.
func (s *Server) writeFactors(ctx context.Context, out *bufio.Writer) {
	ctx, cancel := context.WithTimeout(ctx, factorsWait)
	defer cancel()
	var all []control.PoolWeights
	for _, p := range s.opts.Control.Snapshot().Config.Pools {
		if !p.Follows() {
			continue
		}
		one, err := s.opts.Control.Weights(ctx, p.Name)
		if err != nil {
			continue // it has gone meanwhile, or there is no time
		}
		all = append(all, one...)
	}
	if len(all) == 0 {
		return
	}
	s.writeParts(out, all)
	s.writeAges(out, all)
}

func (s *Server) writeParts(out *bufio.Writer, all []control.PoolWeights) {
	const name = "weir_backend_weight_factor"
	writeHead(out, name, "gauge", "Factor of the backend's effective weight.")
	for _, p := range all {
		for _, e := range p.Backends {
			for _, part := range e.Parts[1:] { // the first is the weight that they multiply
				fmt.Fprintf(out, "%s{backend=%q,factor=%q,pool=%q} %v\n", name, e.Endpoint, label(part), p.Pool.Name, part.Value)
			}
		}
	}
}

func label(p weight.Part) string { return strings.ReplaceAll(p.Name, " ", "_") }

func (s *Server) writeAges(out *bufio.Writer, all []control.PoolWeights) {
	const name = "weir_agent_report_age_seconds"
	writeHead(out, name, "gauge", "Time since the last report of the backend's agent.")
	for _, p := range all {
		for _, e := range p.Backends {
			a, asked := s.opts.Control.Agent(control.Ref{Pool: p.Pool.Name, Endpoint: e.Endpoint})
			if asked && !a.At.IsZero() {
				fmt.Fprintf(out, "%s{backend=%q,pool=%q} %.3f\n", name, e.Endpoint, p.Pool.Name, time.Since(a.At).Seconds())
			}
		}
	}
}
