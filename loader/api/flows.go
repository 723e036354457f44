package api

import (
	"net/http"
	"net/netip"
	"net/url"
	"strconv"

	"weir/loader/api/wire"
	"weir/loader/lb"
)

const (
	defaultFlowLimit = 100
	maxFlowLimit     = 100_000
)

// flows looks one 5-tuple up if src and dst are given, and lists the table up
// to a limit if not.
func (s *Server) flows(w http.ResponseWriter, r *http.Request) {
	q, err := parseFlowQuery(r.URL.Query())
	if err != nil {
		refuse(w, err)
		return
	}
	v := view{Snapshot: s.opts.Control.Snapshot()}
	var out wire.Flows
	if q.key != nil {
		out.Flows, err = s.findFlow(v, *q.key)
	} else {
		out, err = s.listFlows(v, q)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	if out.Flows == nil {
		out.Flows = []wire.Flow{}
	}
	answer(w, http.StatusOK, out)
}

func (s *Server) findFlow(v view, k lb.FlowKey) ([]wire.Flow, error) {
	f, ok, err := s.opts.DataPlane.FindFlow(k)
	if err != nil || !ok {
		return nil, err
	}
	return []wire.Flow{v.flow(f)}, nil
}

func (s *Server) listFlows(v view, q flowQuery) (wire.Flows, error) {
	var out wire.Flows
	err := s.opts.DataPlane.Flows(func(f lb.Flow) bool {
		if !matchesBackend(f.Endpoint, q.backend) {
			return true
		}
		if len(out.Flows) == q.limit {
			out.Truncated = true
			return false
		}
		out.Flows = append(out.Flows, v.flow(f))
		return true
	})
	return out, err
}

type flowQuery struct {
	key     *lb.FlowKey // nil: list
	limit   int
	backend string // ADDRESS or ADDRESS:PORT, "": all
}

func parseFlowQuery(v url.Values) (flowQuery, error) {
	q := flowQuery{limit: defaultFlowLimit, backend: v.Get("backend")}
	if err := onlyKeys(v, "limit", "src", "dst", "proto", "backend"); err != nil {
		return q, err
	}
	if s := v.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxFlowLimit {
			return q, badf("limit %q is not a number from 1 to %d", s, maxFlowLimit)
		}
		q.limit = n
	}
	if !v.Has("src") && !v.Has("dst") && !v.Has("proto") {
		return q, nil
	}
	key, err := parseFlowKey(v)
	q.key = &key
	return q, err
}

func parseFlowKey(v url.Values) (lb.FlowKey, error) {
	k := lb.FlowKey{Proto: lb.TCP}
	var err error
	if k.Src, err = netip.ParseAddrPort(v.Get("src")); err != nil {
		return k, badf("src %q is not ADDRESS:PORT; src and dst go together", v.Get("src"))
	}
	if k.Dst, err = netip.ParseAddrPort(v.Get("dst")); err != nil {
		return k, badf("dst %q is not ADDRESS:PORT; src and dst go together", v.Get("dst"))
	}
	if k.Src.Addr().Is4() != k.Dst.Addr().Is4() {
		return k, badf("src %s and dst %s are of two address families", k.Src, k.Dst)
	}
	if p := v.Get("proto"); p != "" {
		if k.Proto, err = lb.ParseProto(p); err != nil {
			return k, &badRequest{err}
		}
	}
	return k, nil
}

// onlyKeys refuses a misspelt parameter, which would otherwise select more
// than was asked for.
func onlyKeys(v url.Values, known ...string) error {
next:
	for k := range v {
		for _, want := range known {
			if k == want {
				continue next
			}
		}
		return badf("parameter %q does not exist; there are: %v", k, known)
	}
	return nil
}
