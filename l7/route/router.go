package route

import (
	"net/http"
	"slices"
	"strings"

	"weir/l7/exchange"
	"weir/loader/lb"
)

// Serve hands the request to the handler of the rule that fits best, with
// Request.Path and Query set and Exchange.Route named. What no rule fits, and
// paths that may be read in several ways, are answered here.
func (t *Table) Serve(x *exchange.Exchange) {
	r, status, why := t.choose(x, nil)
	if r == nil {
		x.Fail(status, why)
		if status == http.StatusMethodNotAllowed {
			x.Response.Header.Add("Allow", []byte(t.allowed(x)))
		}
		return
	}
	r.Handler.Serve(x)
}

// choose gives the rule, and otherwise status and reason of the refusal.
func (t *Table) choose(x *exchange.Exchange, tried func(*rule, string)) (r *rule, status int, why string) {
	p, why := readPath(x)
	if why != "" {
		return nil, http.StatusBadRequest, why
	}
	host := Hostname(x.Request.Authority)
	decoded := false
	for {
		s := search{x: x, path: p.routed, tried: tried}
		x.Request.Path = p.routed
		if r = t.find(&s, host); r == nil {
			return nil, s.status(), "no route"
		}
		if decoded && r.Paths.EscapedSlash != lb.PathResolve {
			return nil, http.StatusBadRequest, "an escaped slash that leads to route " + r.Name
		}
		sent, again, why := p.apply(x, r.Paths)
		switch {
		case why != "":
			return nil, http.StatusBadRequest, why
		case !again:
			x.Request.Path, x.Route = sent, r.Name
			return r, 0, ""
		}
		decoded = true
		if p, why = canonical(x, sent); why != "" {
			return nil, http.StatusBadRequest, why
		}
	}
}

func (s *search) status() int {
	if s.methods {
		return http.StatusMethodNotAllowed
	}
	return http.StatusNotFound
}

// allowed are the methods of all rules that fit but for that.
func (t *Table) allowed(x *exchange.Exchange) string {
	var all []string
	t.choose(x, func(r *rule, why string) {
		if why == missMethod {
			all = append(all, r.Match.Methods...)
		}
	})
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

// Tried is a rule that a request could have gone to.
type Tried struct {
	Rule string
	Why  string // it does not fit, "": it does
}

// Decision is what a table decides about a request, and how it came to it.
type Decision struct {
	Path   string // canonical
	Route  string // "": refused
	Status int    // of the refusal
	Why    string
	Tried  []Tried // of those that fit by host and path, and all expressions
}

// Explain says what Serve would do, but for the handler.
func (t *Table) Explain(x *exchange.Exchange) Decision {
	var d Decision
	r, status, why := t.choose(x, func(r *rule, why string) { d.Tried = append(d.Tried, Tried{r.Name, why}) })
	d.Path, d.Status, d.Why = string(x.Request.Path), status, why
	if r != nil {
		d.Route = r.Name
	}
	return d
}
