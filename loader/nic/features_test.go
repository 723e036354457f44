package nic_test

import (
	"os"
	"testing"

	"weir/loader/netlab"
	"weir/loader/nic"
)

func TestFeatures(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	ns, err := netlab.CreateNS("weir-nic-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	if err := netlab.Veth(netlab.End{NS: ns, Name: "a", MAC: []byte{2, 0, 0, 0, 0, 1}}, netlab.End{NS: ns, Name: "b", MAC: []byte{2, 0, 0, 0, 0, 2}}); err != nil {
		t.Fatal(err)
	}
	active := func() (on map[string]bool) {
		t.Helper()
		if err := ns.Do(func() (err error) { on, err = nic.Active("a"); return err }); err != nil {
			t.Fatal(err)
		}
		return on
	}
	if on := active(); !on[nic.TxVLAN] || !on[nic.TxOuter] || !on[nic.RxOuter] || on["rx-lro"] {
		t.Fatalf("a veth has %v", on)
	}
	if err := ns.Do(func() error { return nic.TurnOff("a", nic.TxVLAN, nic.TxOuter) }); err != nil {
		t.Fatal(err)
	}
	if on := active(); on[nic.TxVLAN] || on[nic.TxOuter] || !on[nic.RxOuter] {
		t.Errorf("what is turned off stays on, or more is off: %v", on)
	}
	err = ns.Do(func() error { return nic.TurnOff("a", "no-such-feature") })
	if err == nil {
		t.Error("an unknown feature is turned off")
	}
	if err := ns.Do(func() error { _, err := nic.Active("missing"); return err }); err == nil {
		t.Error("a missing interface has features")
	}
}
