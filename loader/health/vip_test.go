package health

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"weir/loader/health/byvip"
	"weir/loader/lb"
)

type reacher struct {
	t   *testing.T
	err error
}

func (r reacher) Reach(_ context.Context, vip netip.AddrPort, backend netip.Addr, f lb.Forward) error {
	if vip != netip.MustParseAddrPort("192.0.2.1:80") || backend != netip.MustParseAddr("10.0.0.1") || f != lb.GUE {
		r.t.Errorf("reach %s at %s by %s", vip, backend, f)
	}
	return r.err
}

func TestCheckByVIP(t *testing.T) {
	vip := netip.MustParseAddrPort("192.0.2.1:80")
	target := Target{Key: Key{Pool: "p", Endpoint: netip.MustParseAddrPort("10.0.0.1:80"), VIP: vip}, Address: vip, Forward: lb.GUE, Health: lb.Health{Type: lb.HealthHTTP}}
	for _, c := range []struct {
		err  error
		want Reason
		text string
	}{
		{nil, "", ""},
		{byvip.ErrRefused, ReasonRefused, "connect to 192.0.2.1:80 by gue: refused"},
		{context.DeadlineExceeded, ReasonTimeout, "connect to 192.0.2.1:80 by gue: no answer in time"},
		{fmt.Errorf("%w: no CAP_NET_RAW", byvip.ErrLocal), ReasonLocal, "no CAP_NET_RAW"},
		{errors.New("other"), ReasonLocal, "other"},
	} {
		checker, err := open(target, reacher{t, c.err})
		if err != nil {
			t.Fatal(err)
		}
		_, err = checker.Check(t.Context())
		wantResult(t, err, c.want, c.text)
	}
	checker, err := open(target, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = checker.Check(t.Context())
	wantResult(t, err, ReasonLocal, "cannot probe by VIP")
}
