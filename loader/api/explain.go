package api

import (
	"net"
	"net/http"
	"net/url"

	"weir/loader/api/wire"
	"weir/loader/control"
	"weir/loader/lb"
)

// explain says what becomes of one packet, and why.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	p, err := parseProbe(r.URL.Query())
	if err != nil {
		refuse(w, err)
		return
	}
	e, err := s.opts.DataPlane.Explain(p)
	if err != nil {
		refuse(w, err)
		return
	}
	v, err := s.view()
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, v.explanation(e))
}

func parseProbe(v url.Values) (lb.Probe, error) {
	var p lb.Probe
	err := onlyKeys(v, "src", "dst", "proto", "flag")
	if err != nil {
		return p, err
	}
	if p.FlowKey, err = parseFlowKey(v); err != nil {
		return p, err
	}
	switch flag := v.Get("flag"); flag {
	case "", "syn":
	case "ack":
		p.Ack = true
	default:
		return p, badf("flag %q is not syn or ack", flag)
	}
	return p, nil
}

// explanation adds what the configuration says.
func (v view) explanation(e lb.Explanation) wire.Explanation {
	out := wire.Explanation{Explanation: e}
	if e.VIP == nil {
		return out
	}
	s := v.ServiceAt(*e.VIP)
	out.Service, out.Pool = s.Name, s.Pool
	for _, p := range v.Config.Pools {
		if p.Name == s.Pool {
			out.Algorithm = p.Algorithm.String()
		}
	}
	if e.Backend == nil {
		return out
	}
	out.Weight = v.backend(control.Ref{Pool: s.Pool, Endpoint: e.Backend.Endpoint})
	if link, err := net.InterfaceByIndex(e.Backend.Interface); err == nil {
		out.Interface = link.Name
	}
	if !e.Backend.Resolved && v.hopReason != nil {
		out.HopReason = v.hopReason(e.Backend.Endpoint.Addr())
	}
	return out
}

// backend is nil for one that is not in the configuration.
func (v view) backend(r control.Ref) *wire.Backend {
	for _, b := range v.backends() {
		if b.Pool == r.Pool && b.Backend == r.Endpoint && b.State != wire.StateRetired {
			return &b
		}
	}
	return nil
}
