package api

import (
	"net/http"
	"net/netip"

	"weir/loader/api/wire"
	"weir/loader/control"
	"weir/loader/lb"
)

// acls lists the ACLs that are in force; with service only that service's own.
func (s *Server) acls(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if err := onlyKeys(q, "service"); err != nil {
		refuse(w, err)
		return
	}
	v, service := s.opts.Control.Snapshot(), q.Get("service")
	out := wire.ACLs{ACLs: []wire.ACL{}}
	if v.State.ACL != nil && service == "" {
		out.ACLs = append(out.ACLs, aclOf("", nil, v.State.ACL))
	}
	known := service == ""
	for _, st := range v.State.Services {
		if service != "" && st.Service.Name != service {
			continue
		}
		known = true
		if st.Service.ACL != nil {
			out.ACLs = append(out.ACLs, aclOf(st.Service.Name, &st.Service.VIP, st.Service.ACL))
		}
	}
	if !known {
		refuse(w, noService(service))
		return
	}
	answer(w, http.StatusOK, out)
}

func aclOf(service string, vip *lb.VIP, a *lb.ACL) wire.ACL {
	out := wire.ACL{Service: service, VIP: vip, Rules: make([]wire.ACLRule, len(a.Rules))}
	for i, r := range a.Rules {
		out.Rules[i] = wire.ACLRule{Prefix: r.Prefix, Deny: r.Deny}
	}
	return out
}

func noService(name string) error { return &notFoundError{"service", name} }

// notFoundError names what does not exist.
type notFoundError struct{ kind, name string }

func (e *notFoundError) Error() string { return e.kind + " " + e.name + " does not exist" }
func (e *notFoundError) Unwrap() error { return control.ErrNotFound }

// testACL says what holds for a source.
func (s *Server) testACL(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if err := onlyKeys(q, "src"); err != nil {
		refuse(w, err)
		return
	}
	src, err := netip.ParseAddr(q.Get("src"))
	if err != nil || src.Zone() != "" {
		refuse(w, badf("src %q is not an address", q.Get("src")))
		return
	}
	found, err := s.opts.DataPlane.ACL(src.Unmap())
	if err != nil {
		refuse(w, err)
		return
	}
	v, out := s.opts.Control.Snapshot(), wire.ACLTest{Src: src.Unmap(), Verdicts: []wire.ACLVerdict{}}
	for _, x := range found {
		verdict := wire.ACLVerdict{ACLVerdict: x}
		if x.VIP != nil {
			verdict.Service = v.ServiceAt(*x.VIP).Name
		}
		out.Verdicts = append(out.Verdicts, verdict)
	}
	answer(w, http.StatusOK, out)
}
