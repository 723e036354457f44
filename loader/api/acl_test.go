package api_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"weir/loader/lb"
)

func TestACLs(t *testing.T) {
	c := config(t)
	var err error
	if c.ACL, err = lb.NewACL(nil, []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, false); err != nil {
		t.Fatal(err)
	}
	c.Services[0].ACL = c.ACL
	r := start(t, c)
	all, err := r.ACLs(r.ctx, "")
	if err != nil || len(all) != 2 || all[0].Service != "" || all[1].Service != "web" || len(all[0].Rules) != 3 || !all[0].Rules[1].Deny {
		t.Errorf("%+v, %v", all, err)
	}
	if own, err := r.ACLs(r.ctx, "web"); err != nil || len(own) != 1 || own[0].Service != "web" {
		t.Errorf("%+v, %v", own, err)
	}
	if _, err := r.ACLs(r.ctx, "nope"); err == nil || err.Error() != "service nope does not exist" {
		t.Errorf("a service that does not exist: %v", err)
	}
	v, err := r.TestACL(r.ctx, netip.MustParseAddr("203.0.113.7"))
	if err != nil || len(v.Verdicts) != 2 || !v.Verdicts[0].Deny || v.Verdicts[1].Service != "web" {
		t.Errorf("%+v, %v", v, err)
	}
	for query, want := range map[string]string{
		"/v1/acl?x=1": "does not exist", "/v1/acl/test": "not an address", "/v1/acl/test?src=1.2.3.4/8": "not an address", "/v1/acl/test?src=fe80::1%251": "not an address",
	} {
		if status, _, body := r.raw(t, http.MethodGet, query, ""); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want 400 with %q", query, status, body, want)
		}
	}
}

func TestRefusedCounts(t *testing.T) {
	r := start(t, config(t))
	r.data.SetCounters(lb.Counters{Services: []lb.ServiceCounters{{VIP: web, ACL: 3, NewFlowsPerSource: 4, MaxNewFlows: 5}}})
	all, err := r.Services(r.ctx)
	if err != nil || all[0].Refused.Sum() != 12 || all[0].Refused.ACL != 3 {
		t.Errorf("%+v, %v", all, err)
	}
	_, _, body := r.raw(t, http.MethodGet, "/metrics", "")
	if want := `weir_service_refused_packets_total{reason="max_new_flows",service="web",vip="` + web.String() + `"} 5`; !strings.Contains(body, want) {
		t.Errorf("metrics have no line %s", want)
	}
}
