package api

import (
	"net/http"
	"net/netip"
	"os"
	"slices"
	"time"

	"weir/loader/api/wire"
	"weir/loader/control"
	"weir/loader/weight"
)

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	v, err := s.view()
	if err != nil {
		refuse(w, err)
		return
	}
	data := s.opts.DataPlane.Info()
	answer(w, http.StatusOK, wire.Status{
		Version: s.opts.Version, PID: os.Getpid(), Started: s.started,
		ConfigFile: s.opts.ConfigFile, ConfigLoaded: v.Loaded,
		Warnings:   slices.Concat(slowInterfaces(v.Config, data), v.warnings(s.opts.ProcSys), s.certificateWarnings()),
		ApplyError: v.applyError(), DataPlane: data,
		Flows: s.opts.Control.Stats().Flows, Services: len(v.State.Services),
		Backends: v.backendCount(), Reasons: v.reasons(), Totals: v.totals(),
	})
}

func (s *Server) services(w http.ResponseWriter, _ *http.Request) {
	v, err := s.view()
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, wire.Services{Services: v.services()})
}

func (s *Server) backends(w http.ResponseWriter, _ *http.Request) {
	v, err := s.view()
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, wire.Backends{Backends: v.backends()})
}

func (s *Server) setWeight(w http.ResponseWriter, r *http.Request) {
	var body wire.SetWeight
	s.change(w, r, func(ref control.Ref) error {
		if err := decode(w, r, &body); err != nil {
			return err
		}
		if body.Weight == nil {
			return badf("the body needs a weight")
		}
		return s.override(r, ref, weight.Override{Weight: *body.Weight}, body.Term)
	})
}

func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	s.change(w, r, func(ref control.Ref) error {
		var body wire.Term
		if r.ContentLength != 0 {
			if err := decode(w, r, &body); err != nil {
				return err
			}
		}
		return s.override(r, ref, weight.Override{Drain: true}, body)
	})
}

func (s *Server) override(r *http.Request, ref control.Ref, o weight.Override, t wire.Term) error {
	o.Reason = t.Reason
	if t.For != "" {
		d, err := time.ParseDuration(t.For)
		if err != nil || d < time.Second || d > maxTerm {
			return badf("for %q is not a duration from 1s to %s, such as 10m", t.For, maxTerm)
		}
		o.Until = time.Now().Add(d)
	}
	return s.opts.Control.Override(r.Context(), ref, o)
}

// maxTerm is the longest time that an override can be set for.
const maxTerm = 365 * 24 * time.Hour

func (s *Server) makeReady(w http.ResponseWriter, r *http.Request) {
	s.change(w, r, func(ref control.Ref) error {
		if err := noBody(w, r); err != nil {
			return err
		}
		return s.opts.Control.Ready(r.Context(), ref)
	})
}

func (s *Server) change(w http.ResponseWriter, r *http.Request, do func(control.Ref) error) {
	ref, err := pathRef(r)
	if err == nil {
		err = do(ref)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, wire.Changed{OK: true})
}

// pathRef is the backend that a path names.
func pathRef(r *http.Request) (control.Ref, error) {
	ep, err := netip.ParseAddrPort(r.PathValue("endpoint"))
	if err != nil {
		return control.Ref{}, badf("backend %q is not ADDRESS:PORT", r.PathValue("endpoint"))
	}
	return control.Ref{Pool: r.PathValue("pool"), Endpoint: ep}, nil
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	err := noBody(w, r)
	if err == nil {
		err = s.opts.Control.ReloadFile(r.Context())
	}
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, wire.Changed{OK: true})
}
