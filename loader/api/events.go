package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"weir/loader/lb"
)

// events streams one JSON object per line until the client goes. A client
// that reads too slowly loses records and is told how many.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	f, err := parseEventFilter(r.URL.Query())
	if err != nil {
		refuse(w, err)
		return
	}
	out := http.NewResponseController(w)
	if err := unlimited(out); err != nil {
		refuse(w, err)
		return
	}
	sub := s.opts.Control.Subscribe()
	defer sub.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	if out.Flush() != nil {
		return
	}
	enc := json.NewEncoder(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case e := <-sub.C():
			if f.wants(e) && enc.Encode(e) != nil {
				return
			}
			if len(sub.C()) == 0 && out.Flush() != nil {
				return
			}
		}
	}
}

// unlimited lifts the time limits of a request.
func unlimited(c *http.ResponseController) error {
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	return c.SetWriteDeadline(time.Time{})
}

type eventFilter struct{ service, reason, kind string }

func parseEventFilter(v url.Values) (eventFilter, error) {
	f := eventFilter{service: v.Get("service"), reason: v.Get("reason"), kind: v.Get("kind")}
	return f, onlyKeys(v, "service", "reason", "kind")
}

// wants lets the news of lost records through every filter: what was lost may
// have passed it.
func (f eventFilter) wants(e lb.Event) bool {
	if e.Kind == "lost" {
		return true
	}
	return matches(f.service, e.Service) && matches(f.reason, e.Reason) && matches(f.kind, e.Kind)
}

func matches(want, have string) bool { return want == "" || want == have }
