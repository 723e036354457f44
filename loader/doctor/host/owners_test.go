package host

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"weir/loader/doctor"
	"weir/loader/lb"
	"weir/loader/netlab"
)

const prefix = "weir-owners"

// Both families: nobody answers for the VIP, then another host does.
func TestOwners(t *testing.T) {
	for _, family := range []int{4, 6} {
		t.Run(fmt.Sprintf("IPv%d", family), func(t *testing.T) { testOwners(t, family) })
	}
}

func testOwners(t *testing.T, family int) {
	if _, err := netlab.Cleanup(prefix); err != nil {
		t.Fatal(err)
	}
	net, err := netlab.New(netlab.Options{Prefix: prefix, Backends: 1, Forward: lb.NAT, Family: family})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
	if macs := ask(t, net); len(macs) > 0 {
		t.Errorf("%v answer for an address that nobody has", macs)
	}
	host := net.Backends[0].NS
	if err := host.AddAddr(netlab.NIC, netip.PrefixFrom(net.VIP, net.VIP.BitLen())); err != nil {
		t.Fatal(err)
	}
	want := []doctor.MAC{macOf(t, host)}
	if macs := ask(t, net); !slices.Equal(macs, want) {
		t.Errorf("%v answer, want %v", macs, want)
	}
	if err := net.Balancer.AddAddr(netlab.NIC, netip.PrefixFrom(net.VIP, net.VIP.BitLen())); err != nil {
		t.Fatal(err)
	}
	if macs := ask(t, net); !slices.Equal(macs, want) {
		t.Errorf("%v answer, want %v and not this host", macs, want)
	}
}

func ask(t *testing.T, net *netlab.Topology) (macs []doctor.MAC) {
	t.Helper()
	err := net.Balancer.Do(func() error {
		h := New(slog.New(slog.DiscardHandler))
		l, err := h.Link(netlab.NIC)
		if err != nil {
			return err
		}
		all, err := h.Owners(t.Context(), l, []netip.Addr{net.VIP})
		macs = all[net.VIP]
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return macs
}

func macOf(t *testing.T, ns *netlab.NS) (mac doctor.MAC) {
	t.Helper()
	err := ns.Do(func() error {
		l, err := New(nil).Link(netlab.NIC)
		mac = l.MAC
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return mac
}
