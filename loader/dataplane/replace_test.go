package dataplane

import (
	"fmt"
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"weir/loader/lb"
	"weir/loader/netlab"
)

// A program that one interface refuses runs on none.
func TestProgramIsReplacedEverywhereOrNowhere(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	ns, err := netlab.CreateNS(fmt.Sprintf("weir-test-replace-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	c := testConfig(t)
	c.Interfaces, c.XDPMode = []string{"a-stays", "b-goes"}, lb.XDPGeneric
	var d *DataPlane
	err = ns.Do(func() error {
		for _, name := range c.Interfaces {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = name
			if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name + "-peer"}); err != nil {
				return err
			}
		}
		var err error
		if d, err = Open(Options{Config: c}); err != nil {
			return err
		}
		gone, err := netlink.LinkByName("b-goes")
		if err != nil {
			return err
		}
		return netlink.LinkDel(gone) // its link refuses every program
	})
	if d != nil {
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	running := func() uint32 {
		t.Helper()
		info, err := d.links["a-stays"].link.Info()
		if err != nil {
			t.Fatal(err)
		}
		return uint32(info.Program)
	}
	before := running()
	if err := d.Apply(stateOf(t, "192.0.2.1:80/tcp", lb.NAT, lb.RoundRobin, "10.0.0.1:80")); err == nil {
		t.Fatal("no error for an interface that is gone")
	}
	if after := running(); after != before || d.features.nat {
		t.Errorf("program %d runs, before the refusal it was %d; nat is on: %t", after, before, d.features.nat)
	}
}
