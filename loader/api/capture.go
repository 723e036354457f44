package api

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"weir/loader/control"
	"weir/loader/lb"
)

// capture streams packets, one JSON object per line, until the client goes.
func (s *Server) capture(w http.ResponseWriter, r *http.Request) {
	v := s.opts.Control.Snapshot()
	f, err := parseCaptureFilter(r.URL.Query(), v)
	if err != nil {
		refuse(w, err)
		return
	}
	out := http.NewResponseController(w)
	if err := unlimited(out); err != nil {
		refuse(w, err)
		return
	}
	packets, err := s.opts.DataPlane.Capture(r.Context(), f)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	if out.Flush() != nil {
		return
	}
	enc := json.NewEncoder(w)
	for p := range packets {
		if p.VIP != nil {
			p.Service = s.opts.Control.Snapshot().ServiceAt(*p.VIP).Name
		}
		if enc.Encode(p) != nil || len(packets) == 0 && out.Flush() != nil {
			return
		}
	}
}

func parseCaptureFilter(q url.Values, v *control.Snapshot) (f lb.CaptureFilter, err error) {
	if err := onlyKeys(q, "service", "backend", "reason", "all", "snaplen"); err != nil {
		return f, err
	}
	if name := q.Get("service"); name != "" {
		if f.VIP = vipOf(v, name); f.VIP == nil {
			return f, noService(name)
		}
	}
	if text := q.Get("backend"); text != "" {
		if f.Backend, err = parseEndpoint(text); err != nil {
			return f, err
		}
	}
	if text := q.Get("reason"); text != "" {
		f.Reasons = strings.Split(text, ",")
	}
	if text := q.Get("snaplen"); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n < 1 || n > lb.MaxSnapLen {
			return f, badf("snaplen %q is not a number from 1 to %d", text, lb.MaxSnapLen)
		}
		f.SnapLen = uint32(n)
	}
	f.All = q.Has("all")
	if f.All && (f.VIP != nil || f.Backend.IsValid() || f.Reasons != nil) {
		return f, badf("all does not go with service, backend or reason")
	}
	return f, nil
}

func vipOf(v *control.Snapshot, service string) *lb.VIP {
	for _, st := range v.State.Services {
		if st.Service.Name == service {
			return &st.Service.VIP
		}
	}
	return nil
}

// parseEndpoint reads ADDRESS:PORT, or ADDRESS for a backend without port.
func parseEndpoint(text string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a, 0), nil
	}
	ep, err := netip.ParseAddrPort(text)
	if err != nil {
		return ep, badf("backend %q is not ADDRESS:PORT, nor ADDRESS", text)
	}
	return ep, nil
}
