package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"weir/loader/agents"
	"weir/loader/api/wire"
	"weir/loader/control"
	"weir/loader/weight"
)

func (s *Server) overrides(w http.ResponseWriter, _ *http.Request) {
	out := wire.Overrides{Overrides: []wire.Override{}}
	all := s.opts.Control.Snapshot().Overrides
	for _, r := range slices.SortedFunc(maps.Keys(all), control.Ref.Compare) {
		o := all[r]
		out.Overrides = append(out.Overrides, wire.Override{Pool: r.Pool, Backend: r.Endpoint,
			Drain: o.Drain, Weight: o.Weight, Until: o.Until, Reason: o.Reason})
	}
	answer(w, http.StatusOK, out)
}

func (s *Server) weights(w http.ResponseWriter, r *http.Request) {
	if err := onlyKeys(r.URL.Query(), "pool"); err != nil {
		refuse(w, err)
		return
	}
	all, err := s.opts.Control.Weights(r.Context(), r.URL.Query().Get("pool"))
	if err != nil {
		refuse(w, err)
		return
	}
	out := wire.Weights{Pools: make([]wire.PoolWeights, len(all))}
	for i, p := range all {
		out.Pools[i] = s.poolWeights(p)
	}
	answer(w, http.StatusOK, out)
}

func (s *Server) backendWeight(w http.ResponseWriter, r *http.Request) {
	ref, err := pathRef(r)
	var p control.PoolWeights
	if err == nil {
		p, err = s.opts.Control.ExplainBackend(r.Context(), ref)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, s.poolWeights(p))
}

func (s *Server) poolWeights(p control.PoolWeights) wire.PoolWeights {
	out := wire.PoolWeights{Pool: p.Pool.Name, Algorithm: p.Pool.Algorithm.String(), Mode: p.Pool.Law.Mode.String(),
		Panic: p.Panics, Backends: make([]wire.BackendWeight, len(p.Backends))}
	for i, e := range p.Backends {
		out.Backends[i] = backendWeight(e)
		if a, asked := s.opts.Control.Agent(control.Ref{Pool: p.Pool.Name, Endpoint: e.Endpoint}); asked {
			out.Backends[i].Agent = agentStatus(a)
		}
	}
	return out
}

func agentStatus(a agents.Status) *wire.Agent {
	out := &wire.Agent{Address: a.Address, Protocol: string(a.Protocol), Reports: a.Answers, Failures: a.Failures,
		Values: a.Values.Values, Missing: a.Values.Missing, Reason: a.Values.Status.Reason}
	if !a.Values.Status.Takes() {
		out.State = strings.TrimSpace(string(a.Values.Status.Oper) + " " + string(a.Values.Status.Admin))
	}
	if a.Err != nil {
		out.Error = a.Err.Error()
	}
	if !a.At.IsZero() {
		out.Age = new(time.Since(a.At).Round(time.Millisecond).Seconds())
	}
	return out
}

func backendWeight(e weight.Explanation) wire.BackendWeight {
	out := wire.BackendWeight{Backend: e.Endpoint, Effective: control.Units(e.Effective), Share: e.Share, Target: e.Target,
		Parts: make([]wire.WeightPart, len(e.Parts))}
	for i, p := range e.Parts {
		out.Parts[i] = wire.WeightPart{Name: p.Name, Value: p.Value, Input: p.Input, Age: p.Age.Round(time.Millisecond).Seconds(), Why: p.Why}
	}
	return out
}

// overrideNote is an override as lists of backends show it.
func overrideNote(o weight.Override) string {
	note := o.String()
	if !o.Until.IsZero() {
		note += " until " + o.Until.Format(time.RFC3339)
	}
	if o.Reason != "" {
		note += " (" + o.Reason + ")"
	}
	return note
}
