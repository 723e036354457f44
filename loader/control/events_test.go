package control_test

import (
	"net/netip"
	"slices"
	"testing"

	"weir/loader/control"
	"weir/loader/lb"
)

func TestKernelEventsOnlyForListeners(t *testing.T) {
	r := start(t, control.Options{Config: config(t)})
	if got := r.data.Samples(); !slices.Equal(got, []uint32{0}) {
		t.Fatalf("samplings %v with no listener, want one of 0", got)
	}
	first, second := r.Subscribe(), r.Subscribe()
	r.await(t, func() bool { return slices.Equal(r.data.Samples(), []uint32{4}) })
	if err := r.data.Emit(r.ctx, lb.Event{Kind: "flow-new", VIP: web.String()}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*control.Subscription{first, second} {
		if e := event(t, r, s, "flow-new"); e.Service != "web" {
			t.Errorf("event of service %q, want web", e.Service)
		}
	}
	first.Close()
	first.Close() // allowed
	second.Close()
	r.await(t, func() bool { return slices.Equal(r.data.Samples(), []uint32{0}) })
}

func TestReloadChangesSampling(t *testing.T) {
	cfg := config(t)
	r := start(t, control.Options{Config: cfg})
	defer r.Subscribe().Close()
	r.await(t, func() bool { return slices.Equal(r.data.Samples(), []uint32{4}) })
	cfg.EventSample = 9
	if err := r.Reload(r.ctx, cfg); err != nil {
		t.Fatal(err)
	}
	r.await(t, func() bool { return slices.Equal(r.data.Samples(), []uint32{9}) })
}

func TestNeedHopIsProbedWithoutListeners(t *testing.T) {
	r := start(t, control.Options{Config: config(t)})
	client := netip.MustParseAddrPort("198.51.100.7:1234")
	if err := r.data.Emit(r.ctx, lb.Event{Kind: "drop", NeedHop: true, Dst: client}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-r.hops.Probes():
		if got != client.Addr() {
			t.Errorf("probed %s, want %s", got, client.Addr())
		}
	case <-r.ctx.Done():
		t.Fatal("not probed")
	}
}
