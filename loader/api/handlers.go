package api

import (
	"net/http"
	"net/netip"
	"os"

	"weir/loader/api/wire"
	"weir/loader/control"
)

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	v, err := s.view()
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, wire.Status{
		Version: s.opts.Version, PID: os.Getpid(), Started: s.started,
		ConfigFile: s.opts.ConfigFile, ConfigLoaded: v.Loaded,
		Warnings: v.warnings(s.opts.ProcSys), ApplyError: v.applyError(), DataPlane: s.opts.DataPlane.Info(),
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
		return s.opts.Control.SetWeight(r.Context(), ref, *body.Weight)
	})
}

func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	s.change(w, r, func(ref control.Ref) error {
		if err := noBody(w, r); err != nil {
			return err
		}
		return s.opts.Control.Drain(r.Context(), ref)
	})
}

func (s *Server) makeReady(w http.ResponseWriter, r *http.Request) {
	s.change(w, r, func(ref control.Ref) error {
		if err := noBody(w, r); err != nil {
			return err
		}
		return s.opts.Control.Ready(r.Context(), ref)
	})
}

func (s *Server) change(w http.ResponseWriter, r *http.Request, do func(control.Ref) error) {
	ep, err := netip.ParseAddrPort(r.PathValue("endpoint"))
	if err != nil {
		refuse(w, badf("backend %q is not ADDRESS:PORT", r.PathValue("endpoint")))
		return
	}
	if err := do(control.Ref{Pool: r.PathValue("pool"), Endpoint: ep}); err != nil {
		refuse(w, err)
		return
	}
	answer(w, http.StatusOK, wire.Changed{OK: true})
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
