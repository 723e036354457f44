package api_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"weir/loader/lb"
)

func TestExplain(t *testing.T) {
	r := start(t, config(t))
	key := lb.FlowKey{Src: netip.MustParseAddrPort("198.51.100.7:4242"), Dst: netip.AddrPortFrom(web.Addr, web.Port), Proto: lb.TCP}
	r.data.AddFlow(key, lb.Flow{VIP: web, Endpoint: ep2, ID: 2, State: "established"})
	e, err := r.Explain(r.ctx, lb.Probe{FlowKey: key, Ack: true})
	if err != nil {
		t.Fatal(err)
	}
	if e.Service != "web" || e.Pool != "web" || e.Algorithm != "maglev" || e.Weight == nil || e.Weight.Weight != 3 || e.Weight.Share != 0.75 {
		t.Errorf("got %+v, want service and weight of %s", e, ep2)
	}
	key.Dst = netip.MustParseAddrPort("192.0.2.9:80")
	if e, err = r.Explain(r.ctx, lb.Probe{FlowKey: key}); err != nil || e.VIP != nil || e.Expected.Reason != "not_vip" {
		t.Errorf("not a VIP: %+v, %v", e, err)
	}
}

func TestExplainRefusesBadRequests(t *testing.T) {
	r := start(t, config(t))
	for query, want := range map[string]string{
		"":                                    "src",
		"src=1.2.3.4&dst=192.0.2.1:80":        "src",
		"src=1.2.3.4:5&dst=nope":              "dst",
		"src=1.2.3.4:5&dst=[2001:db8::1]:80":  "two address families",
		"src=1.2.3.4:5&dst=1.2.3.5:6&flag=x":  "syn or ack",
		"src=1.2.3.4:5&dst=1.2.3.5:6&proto=x": "tcp or udp",
		"src=1.2.3.4:5&dst=1.2.3.5:6&sport=7": "does not exist",
	} {
		status, _, body := r.raw(t, http.MethodGet, "/v1/explain?"+query, "")
		if status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want 400 with %q", query, status, body, want)
		}
	}
}
