package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"weir/loader/api/client"
	"weir/loader/lb"
)

func TestCapture(t *testing.T) {
	r := start(t, config(t))
	r.data.SetCaptured([]lb.Captured{{Verdict: "drop", Reason: "ttl", VIP: &web, In: lb.Frame{Interface: "eth0", Length: 3, Data: []byte{1, 2, 3}}}, {Lost: 7}}, nil)
	var got []lb.Captured
	f := client.CaptureFilter{Service: "web", Backend: "10.0.0.1:80", Reasons: []string{"ttl", "acl"}, SnapLen: 64}
	err := r.Capture(r.ctx, f, func(p lb.Captured) bool { got = append(got, p); return len(got) < 2 })
	if err != nil || got[0].Service != "web" || string(got[0].In.Data) != "\x01\x02\x03" || got[1].Lost != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	want := lb.CaptureFilter{VIP: &web, Backend: netip.MustParseAddrPort("10.0.0.1:80"), Reasons: []string{"ttl", "acl"}, SnapLen: 64}
	if filters := r.data.Filters(); len(filters) != 1 || !reflect.DeepEqual(filters[0], want) {
		t.Errorf("filters %+v, want %+v", filters, want)
	}
}

func TestCaptureRefusals(t *testing.T) {
	r := start(t, config(t))
	for query, want := range map[string]string{
		"x=1": "does not exist", "service=nope": "service nope does not exist", "backend=1.2.3.4:x": "ADDRESS:PORT",
		"snaplen=0": "1 to 9216", "snaplen=9217": "1 to 9216", "all&reason=ttl": "does not go with",
	} {
		status, _, body := r.raw(t, http.MethodGet, "/v1/capture?"+query, "")
		if status/100 != 4 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s, want %q", query, status, body, want)
		}
	}
	for err, want := range map[error]int{
		fmt.Errorf("a capture runs already: %w", lb.ErrBusy): http.StatusConflict,
		&lb.FilterError{What: "there is no reason"}:          http.StatusBadRequest,
		context.DeadlineExceeded:                             http.StatusInternalServerError,
	} {
		r.data.SetCaptured(nil, err)
		if status, _, body := r.raw(t, http.MethodGet, "/v1/capture", ""); status != want || !strings.Contains(body, err.Error()) {
			t.Errorf("%v: %d %s, want %d", err, status, body, want)
		}
	}
}
